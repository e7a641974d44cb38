//! What the broker can tell and old protocols can't, as one short line for people: edits, reactions, invitations.

use crate::flow;
use serde_json::Value;

/// Characters of such a line at most: what changed is told, and not all that was said is said again.
const LONGEST: usize = 300;

/// What became of something that was said; `None` for what is of no interest to a person.
pub fn of_change(json: &Value) -> Option<String> {
    let seq = json.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let line = match json.get("type").and_then(Value::as_str)? {
        "edit" => format!("* changed message {seq} to: {}", text(json, "text")),
        "delete" => format!("* deleted message {seq}"),
        "reaction" => format!("* {} to message {seq}", text(json, "reaction")),
        "pin" => format!("* pinned message {seq}"),
        "unpin" => format!("* unpinned message {seq}"),
        "settings" if json.get("subject").is_some() => {
            format!("* {} changed the subject to: {}", text(json, "by"), text(json, "subject"))
        }
        "kicked" | "banned" => {
            format!("* {} was {} by {}", text(json, "user"), text(json, "type"), text(json, "by"))
        }
        _ => return None,
    };
    Some(short(&line))
}

/// What happened to a user; `None` for what is of no interest to a person.
pub fn of_signal(from: &str, json: &Value) -> Option<String> {
    let place = text(json, "place");
    let place = place.split_once('/').map_or(place, |(_, name)| name);
    let line = match json.get("type").and_then(Value::as_str)? {
        "invitation" => format!("{from} invites you to {place}"),
        "added" => format!("{from} made you a member of {place}"),
        "role" => format!("you are {} of {place}", text(json, "role")),
        "muted" => format!("{from} muted you in {place}"),
        "unmuted" => format!("{from} lets you speak again in {place}"),
        "gone" => format!("{place} is gone"),
        "gap" => format!(
            "messages were lost {}",
            if place.is_empty() { "here".into() } else { format!("in {place}") }
        ),
        "friend" => format!("{} is {}", text(json, "user"), text(json, "state")),
        "offer" => {
            let name = json.get("data").map_or("", |data| text(data, "name"));
            format!("{from} offers a file: {name}")
        }
        _ => return None,
    };
    Some(short(&line))
}

/// One line, and no long one.
fn short(text: &str) -> String {
    let line = flow::line(text);
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some(_) => line.chars().take(LONGEST - 6).chain(" [...]".chars()).collect(),
    }
}

fn text<'a>(json: &'a Value, field: &str) -> &'a str {
    json.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_one_short_line() {
        let edit = json!({"type": "edit", "seq": 7, "text": "a\r\nb"});
        assert_eq!(of_change(&edit).as_deref(), Some("* changed message 7 to: a  b"));
        let edit = json!({"type": "edit", "seq": 7, "text": "\u{fc}".repeat(60_000)});
        let line = of_change(&edit).expect("an edit");
        assert!(line.chars().count() == LONGEST && line.ends_with("\u{fc} [...]"), "{line}");
        assert_eq!(of_change(&json!({"type": "novelty"})), None);
        assert_eq!(of_change(&json!(7)), None);
    }

    #[test]
    fn an_invitation_names_its_place() {
        let invite = json!({"type": "invitation", "place": "room/den", "by": "ann"});
        assert_eq!(of_signal("ann", &invite).as_deref(), Some("ann invites you to den"));
    }
}
