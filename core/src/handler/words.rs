//! Named words, as paths and queries have them, into types.
use fulmar_dialect::{CallError, value::Misfit};
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

/// All of them, in order.
pub(super) struct Words(Vec<(String, Word)>);

/// One of them.
struct Word(String);

impl Words {
    pub(super) fn of<N: Into<String>, V: Into<String>>(
        pairs: impl Iterator<Item = (N, V)>,
    ) -> Self {
        Self(pairs.map(|(name, value)| (name.into(), Word(value.into()))).collect())
    }

    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<T, CallError> {
        T::deserialize(self).map_err(|misfit| CallError::bad_arguments(misfit.0))
    }

    fn only(mut self) -> Result<Word, Misfit> {
        match (self.0.pop(), self.0.len()) {
            (Some((_, word)), 0) => Ok(word),
            _ => Err(Misfit("expected exactly one parameter".to_owned())),
        }
    }
}

/// What a single word may be, asked of the only one of several.
macro_rules! only {
    ($($name:ident),* $(,)?) => { $(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.only()?.$name(visitor)
        }
    )* };
}

impl<'de> Deserializer<'de> for Words {
    type Error = Misfit;

    only! {
        deserialize_bool, deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64,
        deserialize_i128, deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64,
        deserialize_u128, deserialize_f32, deserialize_f64, deserialize_char, deserialize_str,
        deserialize_string, deserialize_bytes, deserialize_byte_buf, deserialize_identifier,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(MapDeserializer::new(self.0.into_iter()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let mut words = SeqDeserializer::new(self.0.into_iter().map(|(_, word)| word));
        let list = visitor.visit_seq(&mut words)?;
        words.end()?;
        Ok(list)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! { map struct unit unit_struct ignored_any }
}

impl IntoDeserializer<'_, Misfit> for Word {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($name:ident($visit:ident) $what:literal),* $(,)?) => { $(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Misfit::custom(format_args!("'{}' is not {}", self.0, $what))),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Word {
    type Error = Misfit;

    parsed! {
        deserialize_bool(visit_bool) "true or false",
        deserialize_i8(visit_i8) "a number that fits",
        deserialize_i16(visit_i16) "a number that fits",
        deserialize_i32(visit_i32) "a number that fits",
        deserialize_i64(visit_i64) "a number that fits",
        deserialize_i128(visit_i128) "a number that fits",
        deserialize_u8(visit_u8) "a number that fits",
        deserialize_u16(visit_u16) "a number that fits",
        deserialize_u32(visit_u32) "a number that fits",
        deserialize_u64(visit_u64) "a number that fits",
        deserialize_u128(visit_u128) "a number that fits",
        deserialize_f32(visit_f32) "a number",
        deserialize_f64(visit_f64) "a number",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn decode<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T, String> {
        let words = Words::of(pairs.iter().copied());
        words.decode().map_err(|error| error.message.into_owned())
    }

    #[test]
    fn words_become_structs_tuples_and_bare_values() {
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(rename_all = "lowercase")]
        enum Kind {
            Big,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Wanted {
            page: u32,
            exact: Option<bool>,
            missing: Option<String>,
            kind: Kind,
        }
        let pairs = [("page", "7"), ("exact", "true"), ("kind", "big"), ("unknown", "x")];
        let wanted = Wanted { page: 7, exact: Some(true), missing: None, kind: Kind::Big };
        assert_eq!(decode::<Wanted>(&pairs), Ok(wanted));
        assert_eq!(decode(&[("a", "x"), ("b", "-2")]), Ok(("x".to_owned(), -2_i8)));
        assert_eq!(decode(&[("a", "1.5")]), Ok(1.5));
        assert_eq!(decode(&[("a", "lobby")]), Ok("lobby".to_owned()));
        assert_eq!(decode::<Option<String>>(&[]), Ok(None));
    }

    #[test]
    fn says_which_word_does_not_fit() {
        assert_eq!(decode::<u8>(&[("a", "256")]), Err("'256' is not a number that fits".into()));
        assert_eq!(decode::<bool>(&[("a", "yes")]), Err("'yes' is not true or false".into()));
        let two = [("a", "1"), ("b", "2")];
        assert_eq!(decode::<u8>(&two), Err("expected exactly one parameter".into()));
        assert!(decode::<(u8,)>(&two).is_err());
        assert!(decode::<(u8, u8, u8)>(&two).is_err());
    }
}
