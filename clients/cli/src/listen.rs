//! Hearing places until enough was heard.

use crate::{commands::Listen, failure::Failure, print::Printer, secret};
use katydid_chat::topic::Replay as Written;
use katydid_sdk::{Client, Event, Events, Join, Refusal, Replay};
use std::time::{Duration, UNIX_EPOCH};

/// Reads where a replay starts: a number, a time or a duration.
pub(crate) fn since(text: &str) -> Result<Replay, Failure> {
    match Written::since(text) {
        Ok(Written::Since(seq)) => Ok(Replay::Since(seq)),
        Ok(Written::SinceTime(time_ms)) => Ok(Replay::SinceTime(UNIX_EPOCH + Duration::from_millis(time_ms))),
        Ok(Written::SinceAgo(ago_ms)) => Ok(Replay::SinceAgo(Duration::from_millis(ago_ms))),
        _ => {
            Err(Failure::Local(format!("{text:?} is no number, no RFC 3339 time and no duration such as 2h")))
        }
    }
}

/// Whether a plain listener wants to see it.
fn is_talk(event: &Event) -> bool {
    matches!(
        event,
        Event::Message(_)
            | Event::Change(_)
            | Event::User(_)
            | Event::Gap(_)
            | Event::Refused { .. }
            | Event::Other { .. }
    )
}

pub(crate) async fn run(
    client: &Client,
    mut events: Events,
    listen: &Listen,
    printer: Printer,
) -> Result<(), Failure> {
    let replay = match (listen.last, &listen.since) {
        (Some(count), _) => Replay::Last(count),
        (None, Some(text)) => since(text)?,
        (None, None) => Replay::Default,
    };
    let password = listen.place_password_file.as_deref().map(secret::read).transpose()?;
    for place in &listen.places {
        let mut join = Join::new(replay);
        join.password.clone_from(&password);
        if !listen.all {
            join = join.talk_only();
        }
        client.join_with(place, join).await?;
    }
    let mut left = listen.count.unwrap_or(u64::MAX);
    let limit = tokio::time::sleep(listen.limit.unwrap_or(Duration::from_secs(u32::MAX.into())));
    tokio::pin!(limit);
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut limit => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        match event {
            Some(Event::Closed(refusal)) => return Err(refusal.into()),
            None => return Err(Refusal::new(Refusal::CLOSED, "the connection ended").into()),
            Some(event) if listen.all || is_talk(&event) => {
                printer.event(&event)?;
                left -= u64::from(matches!(event, Event::Message(_)));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
