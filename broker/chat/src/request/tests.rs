use super::*;

#[test]
fn a_request_is_read_with_its_id() {
    let body = Body::read(br#"{"id":"a\"b","name":"x","password":null}"#).unwrap();
    assert_eq!(body.id.as_deref(), Some(r#""a\"b""#));
    let settings: Settings = body.ask().unwrap();
    assert_eq!((settings.name.as_str(), settings.password), ("x", Some(None)));
    assert_eq!(decode::<Settings>(br#"{"name":"x"}"#).unwrap().password, None);
    assert_eq!(decode::<WhoAmI>(b""), Ok(WhoAmI {}));
    assert_eq!(Body::read(b"{\"id\":7}").unwrap().id.as_deref(), Some("7"));
}

#[test]
fn bad_input_has_a_code() {
    let deep = "[".repeat(10_000);
    let deep_in_object = format!("{{\"name\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let long_id = format!("{{\"id\":\"{}\",\"name\":\"x\"}}", "x".repeat(65));
    for (bytes, code) in [
        (deep.as_bytes(), Code::TooDeep),
        (deep_in_object.as_bytes(), Code::TooDeep),
        (long.as_bytes(), Code::TooLong),
        (b"[]", Code::Malformed),
        (b"{", Code::Malformed),
        (b"\xff", Code::Malformed),
        (b"{\"name\":\"x\",\"colour\":1}", Code::UnknownField),
        (b"{\"name\":1}", Code::BadField),
        (b"{}", Code::BadField),
        (b"{\"id\":[],\"name\":\"x\"}", Code::BadField),
        (long_id.as_bytes(), Code::BadField),
    ] {
        assert_eq!(decode::<Leave>(bytes).map(|_| ()), Err(code), "{:.40}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn brackets_in_strings_are_not_depth() {
    assert_eq!(depth(br#"{"a":"[[[[\"[[["}"#), 1);
    assert_eq!(depth(br#"{"a":[{}]}"#), 3);
    assert_eq!(depth(b"]]]]["), 1);
}

#[test]
fn fields_have_limits() {
    let bad = [
        decode::<Create>(format!("{{\"subject\":\"{}\"}}", "x".repeat(1025)).as_bytes()).map(|_| ()),
        decode::<Create>(b"{\"password\":\"\"}").map(|_| ()),
        decode::<Create>(b"{\"limit\":9007199254740992}").map(|_| ()),
        decode::<Create>(b"{\"expiry_secs\":-1}").map(|_| ()),
        decode::<List>(b"{\"count\":101}").map(|_| ()),
        decode::<List>(b"{\"count\":0}").map(|_| ()),
        decode::<History>(b"{\"place\":\"room/x\",\"count\":201}").map(|_| ()),
        decode::<History>(b"{\"place\":\"room/x\",\"from\":\"yesterday\"}").map(|_| ()),
        decode::<PresenceSet>(b"{\"state\":\"offline\"}").map(|_| ()),
        decode::<Info>(b"{}").map(|_| ()),
        decode::<BoardPost>(br#"{"group":"g","title":"t","text":"a\u0000b"}"#).map(|_| ()),
        decode::<BoardPost>(br#"{"group":"g","title":"t","text":"","parent":1,"expiry_secs":1}"#).map(|_| ()),
    ];
    for (index, outcome) in bad.into_iter().enumerate() {
        assert_eq!(outcome, Err(Code::BadField), "case {index}");
    }
    assert_eq!(decode::<Register>(br#"{"name":"a","password":""}"#).map(|_| ()), Err(Code::LoginBadPassword));
}

#[test]
fn answers_come_back_as_they_were() {
    let posted = Posted { number: 3 };
    assert_eq!(answer(Some("7"), &posted), r#"{"ok":true,"id":7,"number":3}"#);
    assert_eq!(answer(None, &Done {}), r#"{"ok":true}"#);
    let text = answer(None, &posted);
    assert_eq!(read_answer::<Posted>(text.as_bytes()).unwrap(), Ok(posted));
    let refused = refusal(Some("\"x\""), Code::Banned);
    let read = read_answer::<Done>(refused.as_bytes()).unwrap().unwrap_err();
    assert_eq!(Code::parse(&read.code), Some(Code::Banned));
    assert_eq!(read_id(refused.as_bytes()).as_deref(), Some("\"x\""));
}

#[test]
fn passwords_do_not_show() {
    let register = Register { name: "ann".into(), password: "secret".into(), ..Register::default() };
    let create = Create { password: Some("secret".into()), ..Create::default() };
    let join = Join { name: "x".into(), password: Some("secret".into()) };
    assert!(!format!("{register:?}{create:?}{join:?}").contains("secret"));
}

#[test]
fn events_that_name_a_message_are_read() {
    assert_eq!(Act::read(br#"{"type":"delete","seq":4}"#), Ok(Some(Act::Delete { seq: 4 })));
    assert_eq!(Act::read(br#"{"type":"wave"}"#), Ok(None));
    for bad in [&br#"{"type":"delete"}"#[..], b"hello", b"{}", br#"{"type":"edit","seq":-1,"text":""}"#] {
        assert_eq!(Act::read(bad), Err(Code::BadEvent));
    }
}
