//! JSON of strings without escapes, whole numbers and booleans, and of short lists of them, which
//! is what most calls and answers are: read and written without the parser. Whatever is anything
//! else is left to the parser, which has the last word about it; what is done here, it would have
//! done the same way.
use std::fmt;

use serde::{
    Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor},
    forward_to_deserialize_any,
    ser::{Impossible, Serializer},
};

use super::{
    Misfit,
    carried::CARRIED,
    ser::{no, no_compounds, scalars},
};
use crate::json;

/// Appends the JSON of a string without escapes, a whole number, a boolean or null, and says
/// whether it has. Of everything else nothing is appended.
pub(crate) fn write_scalar<T: Serialize + ?Sized>(value: &T, out: &mut String) -> bool {
    value.serialize(Scalar(out)).is_ok()
}

/// A tuple or list from a JSON array of strings without escapes, whole numbers and booleans,
/// written without spaces. `None` for everything else, be it wrong or right.
pub(crate) fn read_scalars<T: DeserializeOwned>(array: &str) -> Option<T> {
    let mut elements = Elements { rest: array.strip_prefix('[')?, is_first: true };
    let list = T::deserialize(List(&mut elements)).ok()?;
    (elements.rest == "]").then_some(list)
}

/// The same from a list of this text only.
pub(crate) fn read_text<T: DeserializeOwned>(text: &str) -> Option<T> {
    let mut one = One(Some(text));
    let list = T::deserialize(List(&mut one)).ok()?;
    one.0.is_none().then_some(list)
}

struct Scalar<'a>(&'a mut String);

impl Scalar<'_> {
    fn integer(self, number: impl itoa::Integer) -> Result<(), Misfit> {
        self.0.push_str(itoa::Buffer::new().format(number));
        Ok(())
    }

    fn text(self, text: &str) -> Result<(), Misfit> {
        if !json::is_plain(text) {
            return no(());
        }
        self.0.reserve_exact(text.len() + 2);
        self.0.push('"');
        self.0.push_str(text);
        self.0.push('"');
        Ok(())
    }
}

impl Serializer for Scalar<'_> {
    no_compounds!(());

    scalars! { ():
        serialize_char(char) => no,
        serialize_bytes(&[u8]) => no,
        serialize_unit_struct(&'static str) => no,
        serialize_f32(f32) => no,
        serialize_f64(f64) => no,
    }

    fn serialize_bool(self, truth: bool) -> Result<(), Misfit> {
        self.0.push_str(if truth { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i8(self, number: i8) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_i16(self, number: i16) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_i32(self, number: i32) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_i64(self, number: i64) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_u8(self, number: u8) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_u16(self, number: u16) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_u32(self, number: u32) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_u64(self, number: u64) -> Result<(), Misfit> {
        self.integer(number)
    }

    fn serialize_str(self, text: &str) -> Result<(), Misfit> {
        self.text(text)
    }

    fn serialize_none(self) -> Result<(), Misfit> {
        self.0.push_str("null");
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Misfit> {
        no(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Misfit> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Misfit> {
        if is_reserved(name) { no(()) } else { value.serialize(self) }
    }
}

/// Names by which serializers and types know each other: ours, and the JSON libraries'.
fn is_reserved(name: &str) -> bool {
    name == CARRIED || name.starts_with('$')
}

/// It is for the parser.
#[derive(Debug)]
struct NotPlain;

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain")
    }
}

impl std::error::Error for NotPlain {}

impl de::Error for NotPlain {
    fn custom<T: fmt::Display>(_text: T) -> Self {
        Self
    }
}

/// An array without its first bracket, of which elements are taken.
struct Elements<'de> {
    rest: &'de str,
    is_first: bool,
}

impl<'de> Elements<'de> {
    fn next(&mut self) -> Result<Option<Read<'de>>, NotPlain> {
        if self.rest == "]" {
            return Ok(None);
        }
        if !self.is_first {
            self.rest = self.rest.strip_prefix(',').ok_or(NotPlain)?;
        }
        self.is_first = false;
        self.element().map(Some).ok_or(NotPlain)
    }

    fn element(&mut self) -> Option<Read<'de>> {
        match self.rest.as_bytes().first()? {
            b'"' => {
                let (text, rest) = json::split_plain_string(self.rest.strip_prefix('"')?)?;
                self.rest = rest;
                Some(Read::Text(text))
            }
            b't' => self.word("true", Read::Bool(true)),
            b'f' => self.word("false", Read::Bool(false)),
            b'n' => self.word("null", Read::Null),
            _ => self.integer(),
        }
    }

    fn word(&mut self, word: &str, read: Read<'de>) -> Option<Read<'de>> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(read)
    }

    /// A whole number of at most 18 digits, its sign apart. Not negative zero, which is a fraction
    /// to whoever tells the two zeros apart.
    fn integer(&mut self) -> Option<Read<'de>> {
        let digits = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let is_negative = digits.len() < self.rest.len();
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let is_alone = matches!(digits.as_bytes().get(length), Some(b',' | b']'));
        let is_canonical = !digits.starts_with('0') || length == 1 && !is_negative;
        if !(1..=18).contains(&length) || !is_alone || !is_canonical {
            return None;
        }
        let (digits, rest) = digits.split_at(length);
        self.rest = rest;
        let value = |number: u64, digit: u8| number * 10 + u64::from(digit - b'0');
        let number = digits.bytes().fold(0, value);
        Some(if is_negative { Read::Negative(number) } else { Read::Number(number) })
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'de> {
    type Error = NotPlain;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, NotPlain> {
        self.next()?.map(|element| seed.deserialize(element)).transpose()
    }
}

/// A list of one text.
struct One<'de>(Option<&'de str>);

impl<'de> SeqAccess<'de> for &mut One<'de> {
    type Error = NotPlain;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, NotPlain> {
        self.0.take().map(|text| seed.deserialize(Read::Text(text))).transpose()
    }
}

/// A list, for types that are lists.
struct List<A>(A);

impl<'de, A: SeqAccess<'de, Error = NotPlain>> Deserializer<'de> for List<A> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        visitor.visit_seq(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct map struct enum identifier ignored_any
    }
}

/// What was read.
#[derive(Clone, Copy)]
enum Read<'de> {
    Text(&'de str),
    Number(u64),
    Negative(u64),
    Bool(bool),
    Null,
}

impl<'de> Deserializer<'de> for Read<'de> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match self {
            Self::Text(text) => visitor.visit_borrowed_str(text),
            Self::Number(number) => visitor.visit_u64(number),
            Self::Negative(number) => visitor.visit_i64(-number.cast_signed()),
            Self::Bool(truth) => visitor.visit_bool(truth),
            Self::Null => Err(NotPlain),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if matches!(self, Self::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        if is_reserved(name) { Err(NotPlain) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, NotPlain> {
        Err(NotPlain)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{BigInt, Bytes, Date, Value, testing::Dice};

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Name(String);

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum Color {
        Red,
        Green,
    }

    fn read<T: DeserializeOwned>(array: &str) -> Option<T> {
        read_scalars(array)
    }

    #[test]
    fn reads_short_lists_of_scalars() {
        assert_eq!(read(r#"["é 😀"]"#), Some(("é 😀".to_owned(),)));
        assert_eq!(read("[1,-2,true]"), Some((1_u8, -2_i64, true)));
        assert_eq!(read(r#"["a",null,7]"#), Some((Name("a".into()), None::<u8>, Some(7_u64))));
        assert_eq!(read("[1,2,3]"), Some(vec![1_i128, 2, 3]));
        assert_eq!(read("[0]"), Some((0.0_f64,)));
        assert_eq!(read("[]"), Some(Vec::<u8>::new()));
        assert_eq!(read_text("x"), Some(("x".to_owned(),)));
        assert_eq!(read_text("x"), Some(vec![Some(Name("x".to_owned()))]));
        assert_eq!(read_text::<(u8,)>("1"), None);
        assert_eq!(read_text::<()>("x"), None);
        assert_eq!(read_text::<Vec<()>>("x"), None);
        assert_eq!(read_text::<(Option<String>, Option<String>)>("x"), None);
        assert_eq!(read_text::<[String; 0]>("x"), None);
        assert_eq!(read("[-999999999999999999]"), Some((-999_999_999_999_999_999_i64,)));
    }

    #[test]
    fn leaves_everything_else_to_the_parser() {
        let others = [
            "",
            "[",
            "1",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[ 1]",
            "[1 ]",
            "[1] ",
            "[1]]",
            "[01]",
            "[-0]",
            "[-]",
            "[1.0]",
            "[1e3]",
            "[1234567890123456789]",
            "[tru]",
            "[truex]",
            "[\"a]",
            "[\"a\\n\"]",
            "[\"a\nb\"]",
            "[nullx]",
            "[{}]",
            "[[1]]",
        ];
        for other in others {
            assert_eq!(read::<Vec<Option<u8>>>(other), None, "{other}");
            assert_eq!(read::<Vec<String>>(other), None, "{other}");
            assert!(read::<Vec<Value>>(other).is_none(), "{other}");
        }
        assert_eq!(read::<(u8,)>("[1,2]"), None);
        assert_eq!(read::<(u8, u8)>("[1]"), None);
        assert_eq!(read::<(u8,)>("[256]"), None);
        assert_eq!(read::<Name>(r#"["a"]"#), None);
        assert_eq!(read::<(Color,)>(r#"["Red"]"#), None);
        assert!(read::<(Bytes,)>(r#"["AA=="]"#).is_none());
        assert!(read::<(Date,)>(r#"["1970-01-01T00:00:00.000Z"]"#).is_none());
        assert!(read::<(BigInt,)>(r#"["1"]"#).is_none());
    }

    #[test]
    fn reads_what_the_parser_reads() {
        const LISTS: [&str; 4] = [
            r#"["abcdefgh ijkl",-12,true,null]"#,
            "[1,22,333]",
            "[123456789012345678,-16777217,9007199254740993]",
            r#"["a"]"#,
        ];
        let mut dice = Dice(5);
        let mut plain = 0;
        for _ in 0..40_000 {
            let bytes = dice.mutated(&LISTS, b"[],\"\\0-9.e tn\x1f");
            let Ok(text) = str::from_utf8(&bytes) else { continue };
            macro_rules! agree {
                ($($type:ty),*) => { $(
                    if let Some(read) = read::<$type>(text) {
                        let parsed: $type = sonic_rs::from_str(text).expect(text);
                        assert_eq!(format!("{read:?}"), format!("{parsed:?}"), "{text}");
                        plain += 1;
                    }
                )* };
            }
            agree!(Vec<Value>, (String, i64, bool, Option<u8>), Vec<u64>, (Name,));
            agree!(Vec<f64>, Vec<f32>, Vec<i128>);
        }
        assert!(plain > 20_000, "{plain}");
    }

    #[test]
    fn writes_what_the_parser_would() {
        fn written<T: Serialize>(value: &T) -> Option<String> {
            let mut out = "before".to_owned();
            let is_written = write_scalar(value, &mut out);
            let json = out.strip_prefix("before").unwrap();
            assert!(is_written || json.is_empty());
            assert!(!is_written || json == sonic_rs::to_string(value).unwrap(), "{json}");
            is_written.then(|| json.to_owned())
        }
        assert_eq!(written(&"é 😀 \u{7f}/").as_deref(), Some("\"é 😀 \u{7f}/\""));
        assert_eq!(written(&i64::MIN).as_deref(), Some("-9223372036854775808"));
        assert_eq!(written(&u64::MAX).as_deref(), Some("18446744073709551615"));
        assert_eq!(written(&Some(Name("x".into()))).as_deref(), Some("\"x\""));
        assert_eq!(written(&Color::Green).as_deref(), Some("\"Green\""));
        assert_eq!(written(&None::<u8>).as_deref(), Some("null"));
        assert_eq!((written(&true), written(&0_i8)), (Some("true".into()), Some("0".into())));
        let long = "x".repeat(100);
        for at in 0..100 {
            for special in ["\"", "\\", "\n", "\0", "\u{1f}"] {
                let text = format!("{}{special}{}", &long[..at], &long[at..]);
                assert_eq!(written(&text), None, "{text}");
            }
        }
        assert_eq!((written(&1.5), written(&'x'), written(&vec![1])), (None, None, None));
        assert_eq!((written(&Date(0.0)), written(&Bytes(vec![1]))), (None, None));
    }
}
