//! The commands that do one thing: each asks the broker and prints the answer. The chat uses them too.

use crate::{
    commands::{Ask, Create, History, List, Say, Search, Settings, Somebody, Sought, Token, Visibility},
    failure::Failure,
    listen,
    print::Printer,
    secret,
};
use katydid_sdk::{
    Act, Answer, Client, Draft, Json, Place, Replay, Root, Window, json,
    request::{self, Person, PlaceInfo, Visible},
};
use std::{
    io::Read,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The longest line that is said, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Carries out one command.
pub(crate) async fn run(client: &Client, command: Ask, printer: Printer) -> Result<(), Failure> {
    match command {
        Ask::Say(say) => return said(client, &say, printer).await,
        Ask::Tell { user, text } => {
            let say = Say { place: Place::user(&user)?, text, id: None, reply_to: None };
            return said(client, &say, printer).await;
        }
        Ask::History(history) => return past(client, &history, printer).await,
        Ask::Rooms(list) => return places(client, Root::Room, &list, printer).await,
        Ask::Groups(list) => return places(client, Root::Group, &list, printer).await,
        Ask::Users { place, all } => return users(client, place.as_ref(), all, printer).await,
        Ask::Members { place } => return members(client, &place, printer).await,
        Ask::Friends(somebody) => return friends(client, somebody, printer).await,
        Ask::Ignore(somebody) => return ignored(client, somebody, printer).await,
        Ask::Search(search) => return searched(client, search, printer).await,
        Ask::Find { text, kind } => return find(client, text, kind, printer).await,
        Ask::Token(token) => return tokens(client, token, printer).await,
        Ask::Create(create) => return made(client, create, printer).await,
        Ask::Settings(settings) => return set(client, settings, printer).await,
        Ask::Info { place } => return info(&client.info(&place).await?, printer),
        Ask::Whoami => {
            let me = client.whoami().await?;
            return printer.show(&format!("{} {}", me.user, word(&me.kind)), &me);
        }
        Ask::Register { name, new_password_file, email, display, token_file } => {
            let name = name.unwrap_or_else(|| client.user().to_string());
            let password =
                secret::new(new_password_file.as_deref(), "KATYDID_NEW_PASSWORD", "New password: ")?;
            let token = token_file.as_deref().map(secret::read).transpose()?;
            let (password, token) =
                (password.expose().into(), token.as_ref().map(|token| token.expose().into()));
            let account = request::Register { name, password, email, display, token };
            let registered = client.register(&account).await?;
            return printer.show(&format!("registered {}", registered.user), &registered);
        }
        Ask::Password { new_password_file } => {
            let old = match secret::from_environment("KATYDID_PASSWORD") {
                Some(secret) => secret,
                None => secret::prompt("Old password: ")?,
            };
            let new = secret::new(new_password_file.as_deref(), "KATYDID_NEW_PASSWORD", "New password: ")?;
            client.change_password(old.expose(), new.expose()).await?;
        }
        Ask::Profile { user } => {
            let profile = client.profile(user.as_deref()).await?;
            let shown = profile.display.as_deref().unwrap_or(&profile.user);
            let plain = format!("{} {} {} {shown}", profile.user, word(&profile.kind), word(&profile.state));
            return printer.show(&plain, &profile);
        }
        Ask::Post { group, title, text, parent, expiry } => {
            let text = text.map_or_else(standard_input, Ok)?;
            let expiry_secs = expiry.map_or(0, |expiry| expiry.as_secs());
            let number = client.post(&request::BoardPost { group, title, text, parent, expiry_secs }).await?;
            return printer.show(&number.to_string(), &json!({ "number": number }));
        }
        Ask::Board { group, number: Some(number), delete: true, .. } => {
            client.delete_post(&group, number).await?;
        }
        Ask::Board { group, number: Some(number), .. } => {
            let post = client.read_post(&group, number).await?;
            if printer.is_json() {
                return printer.show("", &post);
            }
            printer.show(&format!("#{} {} ({})", post.number, post.title, post.from), &post)?;
            return printer.help(post.text.as_deref().unwrap_or_default());
        }
        Ask::Board { group, parent, .. } => return board(client, &group, parent, printer).await,
        Ask::Moderators { place, add, remove } => {
            for user in client.moderators(&place, add, remove).await? {
                printer.show(&user, &json!({ "user": user }))?;
            }
            return Ok(());
        }
        Ask::Request { verb, body } => {
            let body: Json =
                serde_json::from_str(&body).map_err(|error| Failure::Local(format!("no JSON: {error}")))?;
            let Answer(answer) = client.request(&verb, body).await?;
            return printer.show(&crate::print::safe_json(&answer), &answer);
        }
        quiet => return silent(client, quiet).await,
    }
    Ok(())
}

/// Becomes a member of a place.
pub(crate) async fn enroll(
    client: &Client,
    place: &Place,
    password_file: Option<&Path>,
) -> Result<(), Failure> {
    let password = password_file.map(secret::read).transpose()?;
    client.enroll(place, password.as_ref().map(|password| password.expose())).await?;
    Ok(())
}

/// The commands that have nothing to say when all is well.
async fn silent(client: &Client, command: Ask) -> Result<(), Failure> {
    match command {
        Ask::Unregister { .. } => client.unregister().await?,
        Ask::Delete { place, if_empty } => client.delete_place(&place, if_empty).await?,
        Ask::Leave { place } => client.withdraw(&place).await?,
        Ask::Invite { place, user, add } => client.invite(&place, &user, add).await?,
        Ask::Kick { place, user, ban } => client.kick(&place, &user, ban).await?,
        Ask::Ban(there) => client.ban(&there.place, &there.user).await?,
        Ask::Unban(there) => client.unban(&there.place, &there.user).await?,
        Ask::Mute(there) => client.mute(&there.place, &there.user).await?,
        Ask::Unmute(there) => client.unmute(&there.place, &there.user).await?,
        Ask::Status { away, text } => {
            let state = Some(if away { request::State::Away } else { request::State::Online });
            client.set_presence(&request::PresenceSet { state, text: Some(text.join(" ")) }).await?;
        }
        Ask::Edit(about) => {
            act(client, &about.place, Act::Edit { seq: about.seq, text: about.text.join(" ") }).await?;
        }
        Ask::React(about) => {
            let text = about.text.join(" ");
            act(client, &about.place, Act::Reaction { seq: about.seq, text, remove: false }).await?;
        }
        Ask::Erase { place, seq } => act(client, &place, Act::Delete { seq }).await?,
        Ask::Pin { place, seq, remove } => {
            act(client, &place, if remove { Act::Unpin { seq } } else { Act::Pin { seq } }).await?;
        }
        // The others print something, and are done by `run`.
        _ => {}
    }
    Ok(())
}

async fn act(client: &Client, place: &Place, act: Act) -> Result<(), Failure> {
    Ok(client.act(place, &act).await.map(drop)?)
}

async fn said(client: &Client, say: &Say, printer: Printer) -> Result<(), Failure> {
    if !say.text.is_empty() {
        return say_once(client, say, say.text.join(" ").into_bytes(), printer).await;
    }
    let mut input = BufReader::new(tokio::io::stdin());
    while let Some(line) = line(&mut input).await? {
        say_once(client, say, line, printer).await?;
    }
    Ok(())
}

async fn say_once(client: &Client, say: &Say, text: Vec<u8>, printer: Printer) -> Result<(), Failure> {
    let draft = Draft { id: say.id.clone(), reply_to: say.reply_to, ..Draft::new(text) };
    let ack = client.send(&say.place, draft).await?;
    if printer.is_json() {
        let time = katydid_chat::time::format(ack.time_ms);
        let place = say.place.to_string();
        printer.show("", &json!({ "type": "said", "place": place, "seq": ack.seq, "time": time }))?;
    }
    Ok(())
}

/// The next line of an input, without its end; a longer one than is taken is an error.
pub(crate) async fn line(input: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).await?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    } else if read as u64 == LINE_BYTES_MAX {
        return Err(Failure::Local(format!("a line of more than {LINE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().take(request::POST_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

async fn past(client: &Client, history: &History, printer: Printer) -> Result<(), Failure> {
    let window = match (&history.since, history.around, history.after, history.before) {
        (Some(text), ..) => since(text)?,
        (None, Some(around), ..) => Window::Around(around),
        (None, None, Some(after), Some(before)) => Window::Between(after, before),
        (None, None, Some(after), None) => Window::After(after),
        (None, None, None, before) => Window::Before(before),
    };
    let goes_back = matches!(window, Window::Before(_));
    let page = u32::try_from(history.count).unwrap_or(u32::MAX);
    let mut pages = client.history(&history.place, window).page_entries(page);
    let (mut left, mut kept) = (history.count, Vec::new());
    while left > 0 {
        let Some(page) = pages.next().await else { break };
        let mut entries = page?.entries;
        if goes_back {
            // Pages come newest first, and are printed the other way round.
            entries.drain(..entries.len().saturating_sub(usize::try_from(left).unwrap_or(usize::MAX)));
            left -= entries.len() as u64;
            kept.push(entries);
            continue;
        }
        entries.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= entries.len() as u64;
        entries.iter().try_for_each(|entry| printer.entry(&history.place, entry))?;
    }
    kept.iter().rev().flatten().try_for_each(|entry| printer.entry(&history.place, entry))
}

fn since(text: &str) -> Result<Window, Failure> {
    let ms = |time: SystemTime| {
        let age = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    };
    Ok(match listen::since(text)? {
        Replay::Since(seq) => Window::After(seq),
        Replay::SinceTime(time) => Window::SinceTime(ms(time)),
        Replay::SinceAgo(ago) => {
            Window::SinceTime(ms(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH)))
        }
        _ => Window::Before(None),
    })
}

async fn places(client: &Client, root: Root, list: &List, printer: Printer) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let ask = request::List { mine: list.mine, after: after.take(), count: None };
        let page = client.places(root, &ask).await?;
        page.places.iter().try_for_each(|place| info(place, printer))?;
        match page.places.last() {
            Some(last) if page.more => after = Some(last.name.clone()),
            _ => return Ok(()),
        }
    }
}

fn info(place: &PlaceInfo, printer: Printer) -> Result<(), Failure> {
    let subject = place.subject.as_deref().map_or(String::new(), |subject| format!(": {subject}"));
    let expiry = match place.expires_in_secs {
        0 => String::new(),
        secs => format!(", gone in {}", humantime::format_duration(Duration::from_secs(secs))),
    };
    let plain = format!(
        "{} {} {} of {} here, owned by {}{expiry}{subject}",
        place.place,
        word(&place.visibility),
        place.present,
        place.members,
        place.owner,
    );
    printer.show(&plain, place)
}

fn person(person: &Person, printer: Printer) -> Result<(), Failure> {
    let mut plain = format!("{} {} {}", person.user, word(&person.kind), word(&person.state));
    if let Some(role) = &person.role {
        plain.push_str(&format!(" {}", word(role)));
    }
    if person.muted {
        plain.push_str(" muted");
    }
    if let Some(text) = &person.text {
        plain.push_str(&format!(": {text}"));
    }
    printer.show(&plain, person)
}

/// A word of the JSON, such as a kind of user.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(Into::into)).unwrap_or_default()
}

async fn users(client: &Client, place: Option<&Place>, all: bool, printer: Printer) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let ask =
            request::Users { place: place.map(ToString::to_string), all, after: after.take(), count: None };
        let page = client.users(&ask).await?;
        page.users.iter().try_for_each(|user| person(user, printer))?;
        match page.users.last() {
            Some(last) if page.more => after = Some(last.user.clone()),
            _ => return Ok(()),
        }
    }
}

async fn members(client: &Client, place: &Place, printer: Printer) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = client.members(place, after.as_deref()).await?;
        page.users.iter().try_for_each(|user| person(user, printer))?;
        match page.users.last() {
            Some(last) if page.more => after = Some(last.user.clone()),
            _ => return Ok(()),
        }
    }
}

async fn friends(client: &Client, somebody: Somebody, printer: Printer) -> Result<(), Failure> {
    match (somebody.user, somebody.remove) {
        (Some(user), false) => return Ok(client.befriend(&user).await?),
        (Some(user), true) => return Ok(client.unfriend(&user).await?),
        (None, _) => {}
    }
    let mut after: Option<String> = None;
    loop {
        let page = client.friends(after.as_deref()).await?;
        page.users.iter().try_for_each(|user| person(user, printer))?;
        match page.users.last() {
            Some(last) if page.more => after = Some(last.user.clone()),
            _ => return Ok(()),
        }
    }
}

async fn ignored(client: &Client, somebody: Somebody, printer: Printer) -> Result<(), Failure> {
    match (somebody.user, somebody.remove) {
        (Some(user), false) => return Ok(client.ignore(&user).await?),
        (Some(user), true) => return Ok(client.unignore(&user).await?),
        (None, _) => {}
    }
    let mut after: Option<String> = None;
    loop {
        let page = client.ignored(after.as_deref()).await?;
        page.users.iter().try_for_each(|user| person(user, printer))?;
        match page.users.last() {
            Some(last) if page.more => after = Some(last.user.clone()),
            _ => return Ok(()),
        }
    }
}

async fn searched(client: &Client, search: Search, printer: Printer) -> Result<(), Failure> {
    let Search { words, room, group, with, from, before, after, count } = search;
    let place = match (room, group, with) {
        (Some(room), ..) => Some(Place::room(&room)?),
        (None, Some(group), _) => Some(Place::group(&group)?),
        (None, None, Some(user)) => Some(Place::user(&user)?),
        (None, None, None) => None,
    };
    let edge = |text: String| text.parse().map_or(request::Edge::Time(text), request::Edge::Seq);
    let page = u32::try_from(count).unwrap_or(u32::MAX).clamp(1, request::FIND_HITS);
    let mut pages = client.search(request::Find {
        query: words.join(" "),
        place: place.map(|place| place.to_string()),
        from,
        before: before.map(edge),
        after: after.map(edge),
        limit: Some(page),
        next: None,
    });
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    while left > 0 {
        let Some(hits) = pages.next().await else { break };
        for hit in hits?.into_iter().take(left) {
            printer.hit(&hit)?;
            left -= 1;
        }
    }
    Ok(())
}

async fn find(client: &Client, text: String, kind: Option<Sought>, printer: Printer) -> Result<(), Failure> {
    let kind = kind.map(|kind| match kind {
        Sought::User => request::Sought::User,
        Sought::Room => request::Sought::Room,
        Sought::Group => request::Sought::Group,
    });
    let found = client.look_up(&request::Search { text, kind, count: Some(request::LIST_ENTRIES) }).await?;
    found.users.iter().try_for_each(|user| person(user, printer))?;
    found.places.iter().try_for_each(|place| info(place, printer))?;
    if found.more { printer.note("there are more") } else { Ok(()) }
}

async fn tokens(client: &Client, token: Token, printer: Printer) -> Result<(), Failure> {
    match token {
        Token::Create { label, expiry } => {
            let expiry_secs = expiry.map(|expiry| expiry.as_secs());
            let made = client.ask(&request::TokenCreate { label, expiry_secs }).await?;
            printer.show(&made.token, &made)
        }
        Token::List => {
            let list = client.ask(&request::TokenList {}).await?;
            list.tokens.iter().try_for_each(|token| {
                let label = token.label.as_deref().unwrap_or_default();
                printer.show(&format!("{} {} {label}", token.key, token.created), token)
            })
        }
        Token::Revoke { key } => Ok(client.ask(&request::TokenRevoke { key }).await.map(drop)?),
    }
}

fn visible(visibility: Visibility) -> Visible {
    match visibility {
        Visibility::Public => Visible::Public,
        Visibility::Private => Visible::Private,
        Visibility::Secret => Visible::Secret,
    }
}

async fn made(client: &Client, create: Create, printer: Printer) -> Result<(), Failure> {
    let password = create.place_password_file.as_deref().map(secret::read).transpose()?;
    let settings = request::Create {
        visibility: create.visibility.map(visible),
        password: password.map(|password| password.expose().into()),
        subject: create.subject,
        registered_only: create.registered_only,
        read_only: create.read_only,
        limit: create.limit,
        expiry_secs: create.expiry.map(|expiry| expiry.as_secs()),
        members: create.members,
        ..Default::default()
    };
    info(&client.create(&create.place, settings).await?, printer)
}

async fn set(client: &Client, wanted: Settings, printer: Printer) -> Result<(), Failure> {
    let password = wanted.place_password_file.as_deref().map(secret::read).transpose()?;
    let password = password.map(|password| Some(password.expose().into()));
    let settings = request::Settings {
        visibility: wanted.visibility.map(visible),
        password: if wanted.no_password { Some(None) } else { password },
        subject: wanted.subject,
        registered_only: wanted.registered_only,
        read_only: wanted.read_only,
        limit: wanted.limit,
        expiry_secs: wanted.expiry.map(|expiry| expiry.as_secs()),
        owner: wanted.owner,
        ..Default::default()
    };
    info(&client.settings(&wanted.place, settings).await?, printer)
}

async fn board(client: &Client, group: &str, parent: Option<u64>, printer: Printer) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let ask = request::BoardList { group: group.into(), parent, after, count: None };
        let page = client.posts(&ask).await?;
        page.posts.iter().try_for_each(|post| {
            let answers = if post.parent == 0 { String::new() } else { format!(" to #{}", post.parent) };
            let plain =
                format!("#{}{answers} {} ({}, {} replies)", post.number, post.title, post.from, post.replies);
            printer.show(&plain, post)
        })?;
        match page.posts.last() {
            Some(last) if page.more => after = Some(last.number),
            _ => return Ok(()),
        }
    }
}
