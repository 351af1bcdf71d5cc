//! Rich values through serde, there and back, and what plain JSON makes of them.
use std::sync::Arc;

use fulmar_dialect::{
    Ask, BigInt, Bytes, Call, CallError, Date, Form, Link, Object, Outbox, Outcome, Payload,
    Publication, Stub, Target, Value,
    value::{from_value, is_undefined, to_value},
};
use serde::{Deserialize, Serialize};

struct Nowhere;

impl Outbox for Nowhere {
    fn post(&self, _connection: u64, _ask: Ask) {}
}

struct Nothing;

impl Target for Nothing {
    fn call(&self, _member: &str, _call: Call<'_>) -> Outcome {
        Outcome::Missing
    }
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Shape {
    Point,
    Circle(f64),
    Line { from: i64, to: i64 },
    Pair(i64, i64),
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Everything {
    at: Date,
    big: BigInt,
    data: Bytes,
    shapes: Vec<Shape>,
    maybe: Option<Date>,
    none: Option<i64>,
    pair: (u8, String),
    letter: char,
    unit: (),
    float: f32,
    large: u64,
}

fn everything() -> Everything {
    Everything {
        at: Date(1_795_247_623_901.0),
        big: BigInt("12345678901234567890".into()),
        data: Bytes(vec![0, 255]),
        shapes: vec![
            Shape::Point,
            Shape::Circle(1.5),
            Shape::Line { from: -1, to: 1 },
            Shape::Pair(1, 2),
        ],
        maybe: Some(Date(0.0)),
        none: None,
        pair: (7, "x".into()),
        letter: 'é',
        unit: (),
        float: 0.5,
        large: 9_007_199_254_740_991,
    }
}

#[test]
fn rich_values_survive_serde() {
    let Payload::Rich(value) = Payload::from(&everything(), Form::Rich).unwrap() else {
        panic!("rich was asked for");
    };
    assert!(matches!(value.member("at"), Some(Value::Date(_))));
    assert!(matches!(value.member("big"), Some(Value::BigInt(_))));
    assert!(matches!(value.member("data"), Some(Value::Bytes(..))));
    assert!(matches!(value.member("none"), Some(Value::Null)));
    assert!(matches!(value.member("unit"), Some(Value::Undefined)));
    assert_eq!(from_value::<Everything>(value).unwrap(), everything());
}

#[test]
fn json_says_rich_values_as_text_and_reads_them_back() {
    let Payload::Json(json) = Payload::from(&everything(), Form::Json).unwrap() else {
        panic!("JSON was asked for");
    };
    assert!(
        json.contains(
            r#""at":"2026-11-21T07:53:43.901Z","big":"12345678901234567890","data":"AP8=""#
        )
    );
    assert_eq!(Payload::Json(json).decode::<Everything>().unwrap(), everything());
}

#[test]
fn a_value_is_a_type_like_any_other() {
    let value = to_value(&everything()).unwrap();
    let again = to_value(&value).unwrap();
    assert_eq!(from_value::<Everything>(again).unwrap(), everything());
    let through: Value = from_value(to_value(&everything()).unwrap()).unwrap();
    assert_eq!(from_value::<Everything>(through).unwrap(), everything());
}

#[test]
fn undefined_is_told_from_null() {
    assert!(is_undefined(&()));
    assert!(is_undefined(&Value::Undefined));
    assert!(!is_undefined(&None::<i64>));
    assert!(!is_undefined(&Value::Null));
    assert!(!is_undefined(&Date(0.0)));
    assert!(!is_undefined(&Some(5)));
    let json = |value: &Value| match Payload::from(value, Form::Json).unwrap() {
        Payload::Json(json) => json.into_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(json(&Value::Undefined), "Undefined");
    assert_eq!(json(&Value::Null), "null");
    assert!(matches!(from_value::<Value>(Value::Undefined).unwrap(), Value::Undefined));
    assert_eq!(from_value::<Option<i64>>(Value::Undefined).unwrap(), None);
}

#[test]
fn objects_and_stubs_travel_as_fields_of_structs() {
    #[derive(Deserialize, Serialize)]
    struct Made {
        name: String,
        object: Object,
        callbacks: Vec<Stub>,
    }
    let link = Link::new(Arc::new(Nowhere), 7);
    let object = Object::new(Nothing);
    let made = Made {
        name: "x".into(),
        object: object.clone(),
        callbacks: vec![Stub::import(link.clone(), -1), Stub::import(link.clone(), -2)],
    };
    let value = to_value(&made).unwrap();
    assert!(value.holds_objects());
    let again: Made = from_value(value.clone()).unwrap();
    assert!(again.object.same(&object));
    assert_eq!(again.name, "x");
    let imports: Vec<_> = again.callbacks.iter().map(|stub| stub.as_import(&link)).collect();
    assert_eq!(imports, [Some(-1), Some(-2)]);
    assert!(Publication::new("r", "e", Payload::Rich(value)).is_err());
    for form in [Form::Json, Form::Raw] {
        let error = Payload::from(&made, form).unwrap_err();
        let detail = error.detail.unwrap();
        assert!(detail.contains("an object cannot travel over this protocol"), "{detail}");
    }
}

#[test]
fn what_is_carried_fits_only_its_own_type() {
    let date = || Value::Date(0.0);
    let wrong = [
        from_value::<String>(date()).map(drop),
        from_value::<i64>(date()).map(drop),
        from_value::<BigInt>(date()).map(drop),
        from_value::<Stub>(date()).map(drop),
        from_value::<Date>("yesterday".into()).map(drop),
        from_value::<BigInt>("12x".into()).map(drop),
        from_value::<Bytes>("!".into()).map(drop),
        from_value::<Date>(Value::Undefined).map(drop),
    ];
    for result in wrong {
        assert_eq!(result.unwrap_err().code, Some(400));
    }
    // Nothing of it is left behind for the next one.
    assert!(matches!(Payload::json("null").decode::<Value>().unwrap(), Value::Null));
}

#[test]
fn carried_fields_inside_flattened_structs_are_refused_and_leave_nothing() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        object: Object,
    }
    let value = Value::Map(vec![("object".into(), Value::Object(Object::new(Nothing)))]);
    assert_eq!(from_value::<Outer>(value).unwrap_err().code, Some(400));
    assert!(matches!(Payload::json("null").decode::<Value>().unwrap(), Value::Null));
}

#[test]
fn misfits_say_what_was_expected() {
    let error = Payload::json(r#"{"from":1}"#).decode::<(i64,)>().unwrap_err();
    assert_eq!((error.code, &*error.name), (Some(400), "TypeError"));
    let error: CallError = from_value::<bool>(Value::Int(5)).unwrap_err();
    assert_eq!(error.message, "invalid type: integer `5`, expected a boolean");
}
