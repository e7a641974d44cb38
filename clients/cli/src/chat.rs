//! The chat, line by line: what is typed is said in the current place, what begins with `/` is a command.
//!
//! Works at a terminal and in a pipe. Invariant: lines are carried out one after the other, and what happens meanwhile
//! is printed; at the end of the input everything that was typed has been carried out.

use crate::{act, commands::Ask, failure::Failure, listen, print::Printer, secret, words};
use clap::{CommandFactory, Parser, Subcommand};
use katydid_sdk::{Client, Draft, Event, Events, Join, Place, Refusal, Replay};
use std::{path::PathBuf, pin::pin};
use tokio::io::BufReader;

/// A line that begins with `/`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true, name = "")]
struct Slash {
    #[command(subcommand)]
    command: Typed,
}

/// What only the chat has; the rest is as on the command line.
#[derive(Debug, Subcommand)]
enum Typed {
    /// Enter a place, hear it and say things there
    #[command(visible_alias = "j")]
    Join {
        /// Where
        place: Place,
        /// Begin with the last so many messages
        #[arg(long, conflicts_with = "since")]
        last: Option<u32>,
        /// Begin after a number, at a time, or so long ago
        #[arg(long)]
        since: Option<String>,
        /// File with the place's password
        #[arg(long)]
        place_password_file: Option<PathBuf>,
    },
    /// Stop hearing a place; the current one without PLACE
    Part {
        /// Which
        place: Option<Place>,
    },
    /// Say things in a place that one is in, or to a user
    #[command(visible_alias = "to")]
    In {
        /// Where
        place: Place,
    },
    /// Who is in the current place
    Who,
    /// End the chat
    #[command(visible_aliases = ["q", "exit"])]
    Quit,
    #[command(flatten)]
    Other(Ask),
}

/// What goes on after a line.
enum Next {
    On,
    End,
}

struct Chat<'a> {
    client: &'a Client,
    printer: Printer,
    current: Option<Place>,
}

/// Chats until the input ends or `/quit`.
pub(crate) async fn run(client: &Client, mut events: Events, printer: Printer) -> Result<(), Failure> {
    let mut chat = Chat { client, printer, current: None };
    if secret::is_terminal() {
        printer.note("/join PLACE enters a place, /help says the rest, /quit ends")?;
    }
    let mut input = BufReader::new(tokio::io::stdin());
    loop {
        let line = {
            let mut reading = pin!(act::line(&mut input));
            loop {
                tokio::select! {
                    line = &mut reading => break line?,
                    event = events.next() => told(event, printer)?,
                    _ = tokio::signal::ctrl_c() => return Ok(()),
                }
            }
        };
        let Some(line) = line else { return Ok(()) };
        let line = String::from_utf8_lossy(&line);
        let outcome = {
            let mut carrying = pin!(chat.carry_out(line.trim()));
            loop {
                tokio::select! {
                    outcome = &mut carrying => break outcome,
                    event = events.next() => told(event, printer)?,
                    _ = tokio::signal::ctrl_c() => return Ok(()),
                }
            }
        };
        match outcome {
            Ok(Next::On) => {}
            Ok(Next::End) => return Ok(()),
            Err(Failure::Output) => return Err(Failure::Output),
            // One line that fails does not end the chat.
            Err(failure) => drop(failure.report(&printer)),
        }
        while let Some(event) = events.try_next() {
            told(Some(event), printer)?;
        }
    }
}

fn told(event: Option<Event>, printer: Printer) -> Result<(), Failure> {
    match event {
        None => Err(Refusal::new(Refusal::CLOSED, "the connection ended").into()),
        Some(Event::Closed(refusal)) => Err(refusal.into()),
        // Who is here and what a place is comes with every joining: it is asked for where it is wanted.
        Some(Event::Info { .. } | Event::Typing { .. } | Event::Read { .. }) => Ok(()),
        Some(event) => printer.event(&event),
    }
}

impl Chat<'_> {
    async fn carry_out(&mut self, line: &str) -> Result<Next, Failure> {
        let command = match line.strip_prefix('/') {
            Some(command) if !command.starts_with('/') => command,
            // Two slashes say what begins with one.
            text => {
                let text = text.unwrap_or(line);
                if !text.is_empty() {
                    self.say(text).await?;
                }
                return Ok(Next::On);
            }
        };
        if matches!(command.split_whitespace().next(), None | Some("help" | "h" | "?")) {
            self.help(command.split_whitespace().nth(1))?;
            return Ok(Next::On);
        }
        let words = words::split(command).map_err(|error| Failure::Local(error.into()))?;
        let typed = Slash::try_parse_from(words).map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Failure::Local(format!("{first} (see /help)"))
        })?;
        self.obey(typed.command).await
    }

    async fn obey(&mut self, command: Typed) -> Result<Next, Failure> {
        match command {
            Typed::Quit => return Ok(Next::End),
            Typed::Join { place, last, since, place_password_file } => {
                let replay = match (last, since) {
                    (Some(count), _) => Replay::Last(count),
                    (None, Some(text)) => listen::since(&text)?,
                    (None, None) => Replay::Default,
                };
                let mut join = Join::new(replay);
                join.password = place_password_file.as_deref().map(secret::read).transpose()?;
                self.client.join_with(&place, join).await?;
                self.turn_to(place)?;
            }
            Typed::Part { place } => {
                let place = place.or_else(|| self.current.clone());
                let place = place.ok_or_else(|| Failure::Local("there is no current place".into()))?;
                self.client.leave(&place).await?;
                if self.current.as_ref() == Some(&place) {
                    self.current = None;
                }
            }
            Typed::In { place } => self.turn_to(place)?,
            Typed::Who => {
                let place = self.current.clone();
                let place = place.ok_or_else(|| Failure::Local("there is no current place".into()))?;
                act::run(self.client, Ask::Users { place: Some(place), all: false }, self.printer).await?;
            }
            // The input belongs to the chat.
            Typed::Other(Ask::Say(say)) if say.text.is_empty() => return Err(nothing_said()),
            Typed::Other(Ask::Tell { text, .. }) if text.is_empty() => return Err(nothing_said()),
            Typed::Other(Ask::Post { text: None, .. }) => return Err(nothing_said()),
            Typed::Other(command) => act::run(self.client, command, self.printer).await?,
        }
        Ok(Next::On)
    }

    fn turn_to(&mut self, place: Place) -> Result<(), Failure> {
        self.printer.note(&format!("now in {place}"))?;
        self.current = Some(place);
        Ok(())
    }

    async fn say(&self, text: &str) -> Result<(), Failure> {
        let place = self
            .current
            .as_ref()
            .ok_or_else(|| Failure::Local("there is no current place: /join one, or /in user/NAME".into()))?;
        let ack = self.client.send(place, Draft::new(text.to_owned())).await?;
        // In a place that is heard, one's own words come back in their order; of private ones there is no echo.
        match place {
            Place::User(name) => self.printer.note(&format!("said to {name} (#{})", ack.seq)),
            _ => Ok(()),
        }
    }

    fn help(&self, about: Option<&str>) -> Result<(), Failure> {
        let mut all = Slash::command();
        let text = match about {
            None => {
                let mut text = String::from(
                    "What is typed is said in the current place; what begins with // is said with one slash. Commands:\n",
                );
                for command in all.get_subcommands() {
                    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                    text.push_str(&format!("  /{:<12} {about}\n", command.get_name()));
                }
                text.push_str("/help COMMAND says more of one.");
                text
            }
            Some(name) => match all.find_subcommand_mut(name.trim_start_matches('/')) {
                Some(command) => command.render_long_help().to_string(),
                None => return Err(Failure::Local(format!("there is no command {name:?}"))),
            },
        };
        self.printer.help(&text)
    }
}

fn nothing_said() -> Failure {
    Failure::Local("the text is missing".into())
}

#[cfg(test)]
mod tests {
    use super::Slash;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Slash::command().debug_assert();
    }
}
