use super::*;
use crate::code::Code;
use proptest::prelude::*;
use std::cmp::Reverse;

fn words(text: &str) -> Vec<String> {
    Words::new(text).collect()
}

#[test]
fn words_are_folded() {
    for (text, expected) in [
        ("Hello, World!", vec!["hello", "world"]),
        ("can't stop", vec!["can't", "stop"]),
        ("Ünïcödé ΣΊΣΥΦΟΣ", vec!["unicode", "σισυφοσ"]),
        ("straße STRASSE Øl Łódź", vec!["strasse", "strasse", "ol", "lodz"]),
        ("ﬁne ＦＵＬＬ İstanbul ırak", vec!["fine", "full", "istanbul", "irak"]),
        ("東京タワー", vec!["東", "京", "タワー"]),
        ("שָׁלוֹם", vec!["שלום"]),
        ("3.14 e-mail a_b x@y", vec!["3.14", "e", "mail", "a_b", "x", "y"]),
        ("... !? — 🎉", vec![]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
    assert_eq!(words("हिन्दी"), words("हिन्दी"));
    assert_ne!(words("हिन्दी"), words("हन्द"), "vowel signs are no accents");
    assert_eq!(words("이메일"), words("\u{110b}\u{1175}\u{1106}\u{1166}\u{110b}\u{1175}\u{11af}"));
}

#[test]
fn what_a_query_fits() {
    for (query, fits, not) in [
        ("hello", vec!["Hello!", "say HELLO again"], vec!["hell", "hellos"]),
        ("big cat", vec!["cat, a big one", "big cat"], vec!["big dog"]),
        ("\"big cat\"", vec!["a Big, cat"], vec!["cat big", "big fat cat"]),
        ("wor*", vec!["words", "wor"], vec!["sword"]),
        ("\"the end of wor*\"", vec!["It is the end of words."], vec!["the end", "the end of a word"]),
        ("e-mail", vec!["E-Mail me", "e mail"], vec!["mail e"]),
        ("cafe", vec!["Café", "CAFE\u{301}"], vec!["caf"]),
        ("東京", vec!["東京タワー", "大東京"], vec!["京東", "東の京"]),
        ("naïve -- \"\"", vec!["naive"], vec!["native"]),
    ] {
        let parsed = Query::parse(query).expect(query);
        fits.iter().for_each(|text| assert!(parsed.fits(text), "{query}: {text}"));
        not.iter().for_each(|text| assert!(!parsed.fits(text), "{query}: {text}"));
    }
}

#[test]
fn bad_queries_have_a_code() {
    let (long, many) = ("x".repeat(QUERY_BYTES + 1), "a ".repeat(QUERY_WORDS + 1));
    for query in ["", "   ", "*", "\"\"", "\"open", "?!", "🎉", &long, &many] {
        assert_eq!(Query::parse(query), Err(Code::BadQuery), "{query}");
    }
}

#[test]
fn the_terms_are_those_that_must_occur() {
    let query = Query::parse("b \"a b\" c*").expect("a query");
    let terms: Vec<(&str, bool)> = query.terms().iter().map(|term| (term.word, term.is_open)).collect();
    assert_eq!(terms, [("a", false), ("b", false), ("c", true)]);
}

#[test]
fn a_spot_comes_back_as_it_was() {
    let spot = Spot { time_ms: Reverse(7), place: "room/a:b".into(), seq: Reverse(3) };
    assert_eq!(Spot::parse(&spot.token()), Some(spot.clone()));
    assert!(Spot::at(7) < spot && spot < Spot::at(6));
    for bad in ["", "1", "1:2", "x:1:room/a", "1:x:room/a", "-1:1:a"] {
        assert_eq!(Spot::parse(bad), None, "{bad}");
    }
}

fn hit(seq: u64, text: &str) -> Hit {
    let spot = Spot { time_ms: Reverse(seq), place: "room/a".into(), seq: Reverse(seq) };
    Hit { spot, seq, time_ms: seq, topic: "room/a/msg/ann".into(), id: None, text: text.into() }
}

#[test]
fn an_answer_holds_what_fits_and_says_where_to_go_on() {
    let findings =
        Findings { hits: (1..=9).rev().map(|seq| hit(seq, &"x".repeat(900))).collect(), next: None };
    let all: crate::request::Hits =
        crate::request::read_answer(answer(findings.clone(), None, 1 << 20).as_bytes()).unwrap().unwrap();
    assert_eq!((all.hits.len(), all.end, all.next), (9, true, None));
    let text = answer(findings, Some("7"), 6000);
    assert!(text.len() <= 6000);
    let some: crate::request::Hits = crate::request::read_answer(text.as_bytes()).unwrap().unwrap();
    assert_eq!((some.hits.len(), some.end), (4, false));
    assert_eq!(some.next, Some("6:6:room/a".into()));
    let huge = Findings { hits: vec![hit(2, &"x".repeat(9000)), hit(1, "y")], next: None };
    let some: crate::request::Hits =
        crate::request::read_answer(answer(huge, None, 4000).as_bytes()).unwrap().unwrap();
    assert_eq!((some.hits.len(), some.hits[0].too_long, some.end), (2, true, true));
}

proptest! {
    #[test]
    fn any_text_is_taken_apart(text in any::<String>(), query in any::<String>()) {
        let folded = words(&text);
        prop_assert!(folded.iter().all(|word| !word.is_empty()));
        if let Ok(query) = Query::parse(&query) {
            let _ = query.fits(&text);
        }
    }

    #[test]
    fn a_text_fits_its_own_words(text in "[a-zA-Zäöé東京 ,.-]{1,40}") {
        if let Ok(query) = Query::parse(&text.replace('"', "")) {
            prop_assert!(query.fits(&text));
            let terms = query.terms();
            let found = words(&text);
            prop_assert!(terms.iter().all(|term| found.iter().any(|word| word == term.word)));
        }
    }

    #[test]
    fn plain_words_are_found_as_a_naive_reader_finds_them(
        text in proptest::collection::vec("[a-d]{1,2}", 0..8),
        sought in proptest::collection::vec("[a-d]{1,2}", 1..4),
    ) {
        let joined = text.join(" ");
        let all = sought.iter().all(|word| text.contains(word));
        prop_assert_eq!(Query::parse(&sought.join(" ")).unwrap().fits(&joined), all);
        let padded = format!(" {joined} ");
        let phrase = Query::parse(&format!("\"{}\"", sought.join(" "))).unwrap();
        prop_assert_eq!(phrase.fits(&joined), padded.contains(&format!(" {} ", sought.join(" "))));
        let begin = Query::parse(&format!("{}*", sought[0])).unwrap();
        prop_assert_eq!(begin.fits(&joined), padded.contains(&format!(" {}", sought[0])));
    }
}
