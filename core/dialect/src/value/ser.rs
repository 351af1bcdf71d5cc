//! From types to values: `Serialize` for [`Value`], and serializers that make one.
use std::borrow::Cow;

use serde::ser::{self, Impossible, Serialize, Serializer};

use super::{
    Misfit, Value,
    carried::{self, CARRIED, Plain, carry},
};
use crate::{CallError, Payload};

/// The tree of any `Serialize`.
///
/// # Errors
///
/// A `TypeError` if its `Serialize` fails.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, CallError> {
    value.serialize(ToValue).map_err(|misfit| CallError::type_error(misfit.0))
}

/// Whether it is nothing at all (`()`, a unit struct, `Value::Undefined`): asked of the type, not
/// of its JSON, where it could not be told from null. Compiles to a constant for almost every type.
pub fn is_undefined<T: Serialize + ?Sized>(value: &T) -> bool {
    value.serialize(Probe).is_ok()
}

/// What has words without JSON: a string, bytes, or nothing (`None`). `None` for everything else.
pub fn to_raw<T: Serialize + ?Sized>(value: &T) -> Option<Payload<'static>> {
    value.serialize(ToRaw).ok()
}

/// Any value at all; the JSON projection under a plain serializer.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Undefined => serializer.serialize_unit(),
            Self::Null => serializer.serialize_none(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Map(fields) => {
                serializer.collect_map(fields.iter().map(|(key, value)| (&**key, value)))
            }
            other => carry(&Plain::Value(other), serializer),
        }
    }
}

struct ToValue;

/// A list under construction, and the variant it belongs to.
struct Items {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

/// A map under construction, the key that waits for its value, and the variant it belongs to.
struct Fields {
    fields: Vec<(Box<str>, Value)>,
    key: Option<Box<str>>,
    variant: Option<&'static str>,
}

impl Fields {
    fn new(variant: Option<&'static str>) -> Self {
        Self { fields: Vec::new(), key: None, variant }
    }
}

fn tagged(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(name) => Value::Map(vec![(name.into(), value)]),
        None => value,
    }
}

macro_rules! scalars {
    ($result:ty: $($name:ident($source:ty) => $make:expr),* $(,)?) => { $(
        fn $name(self, source: $source) -> Result<$result, Misfit> {
            ($make)(source)
        }
    )* };
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Misfit;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    scalars! { Value:
        serialize_bool(bool) => |source| Ok(Value::Bool(source)),
        serialize_i8(i8) => |source| Ok(Value::Int(i64::from(source))),
        serialize_i16(i16) => |source| Ok(Value::Int(i64::from(source))),
        serialize_i32(i32) => |source| Ok(Value::Int(i64::from(source))),
        serialize_i64(i64) => |source| Ok(Value::Int(source)),
        serialize_u8(u8) => |source| Ok(Value::Int(i64::from(source))),
        serialize_u16(u16) => |source| Ok(Value::Int(i64::from(source))),
        serialize_u32(u32) => |source| Ok(Value::Int(i64::from(source))),
        serialize_f32(f32) => |source| Ok(Value::Float(f64::from(source))),
        serialize_f64(f64) => |source| Ok(Value::Float(source)),
        serialize_char(char) => |source: char| Ok(Value::String(source.to_string().into())),
        serialize_str(&str) => |source: &str| Ok(Value::String(source.into())),
        serialize_bytes(&[u8]) => |source: &[u8]| Ok(Value::bytes(source.to_vec())),
        serialize_unit_struct(&'static str) => |_| Ok(Value::Undefined),
    }

    fn serialize_u64(self, number: u64) -> Result<Value, Misfit> {
        #[expect(clippy::cast_precision_loss, reason = "as JavaScript does with large numbers")]
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
    }

    fn serialize_none(self) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Misfit> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Misfit> {
        Ok(Value::Undefined)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, Misfit> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Misfit> {
        if name == CARRIED {
            return carried::wanted(value).ok_or_else(|| Misfit("nothing carried".to_owned()));
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Misfit> {
        Ok(tagged(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items, Misfit> {
        // A length is a hint, and may be a wrong one.
        let capacity = length.unwrap_or(0).min(4096);
        Ok(Items { items: Vec::with_capacity(capacity), variant: None })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items, Misfit> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items, Misfit> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Items, Misfit> {
        Ok(Items { items: Vec::new(), variant: Some(variant) })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Fields, Misfit> {
        Ok(Fields::new(None))
    }

    fn serialize_struct(self, _: &'static str, _length: usize) -> Result<Fields, Misfit> {
        Ok(Fields::new(None))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Fields, Misfit> {
        Ok(Fields::new(Some(variant)))
    }
}

macro_rules! items {
    ($($kind:ident :: $push:ident),*) => { $(
        impl ser::$kind for Items {
            type Ok = Value;
            type Error = Misfit;

            fn $push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
                self.items.push(item.serialize(ToValue)?);
                Ok(())
            }

            fn end(self) -> Result<Value, Misfit> {
                Ok(tagged(self.variant, Value::Array(self.items)))
            }
        }
    )* };
}

items! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
}

macro_rules! fields {
    ($($kind:ident),*) => { $(
        impl ser::$kind for Fields {
            type Ok = Value;
            type Error = Misfit;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Misfit> {
                self.fields.push((key.into(), value.serialize(ToValue)?));
                Ok(())
            }

            fn end(self) -> Result<Value, Misfit> {
                Ok(tagged(self.variant, Value::Map(self.fields)))
            }
        }
    )* };
}

fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Misfit> {
        self.key = Some(key.serialize(ToValue)?.to_text().into());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        let key = self.key.take().unwrap_or_default();
        self.fields.push((key, value.serialize(ToValue)?));
        Ok(())
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(Value::Map(self.fields))
    }
}

/// The answer of the serializers below to everything they have no words for. Allocates nothing.
pub(super) fn no<T, R>(_: T) -> Result<R, Misfit> {
    Err(Misfit(String::new()))
}

/// No numbers: the part that [`Probe`] and [`ToRaw`] have in common.
macro_rules! no_numbers {
    ($result:ty) => {
        scalars! { $result:
            serialize_bool(bool) => no,
            serialize_i8(i8) => no,
            serialize_i16(i16) => no,
            serialize_i32(i32) => no,
            serialize_i64(i64) => no,
            serialize_u8(u8) => no,
            serialize_u16(u16) => no,
            serialize_u32(u32) => no,
            serialize_u64(u64) => no,
            serialize_f32(f32) => no,
            serialize_f64(f64) => no,
        }
    };
}

/// No lists, maps or variants with content.
macro_rules! no_compounds {
    ($result:ty) => {
        type Ok = $result;
        type Error = Misfit;
        type SerializeSeq = Impossible<$result, Misfit>;
        type SerializeTuple = Impossible<$result, Misfit>;
        type SerializeTupleStruct = Impossible<$result, Misfit>;
        type SerializeTupleVariant = Impossible<$result, Misfit>;
        type SerializeMap = Impossible<$result, Misfit>;
        type SerializeStruct = Impossible<$result, Misfit>;
        type SerializeStructVariant = Impossible<$result, Misfit>;

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<$result, Misfit> {
            value.serialize(self)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _value: &T,
        ) -> Result<$result, Misfit> {
            no(())
        }

        fn serialize_seq(self, _length: Option<usize>) -> Result<Self::SerializeSeq, Misfit> {
            no(())
        }

        fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Misfit> {
            no(())
        }

        fn serialize_tuple_struct(
            self,
            _name: &'static str,
            _length: usize,
        ) -> Result<Self::SerializeTupleStruct, Misfit> {
            no(())
        }

        fn serialize_tuple_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Self::SerializeTupleVariant, Misfit> {
            no(())
        }

        fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, Misfit> {
            no(())
        }

        fn serialize_struct(
            self,
            _name: &'static str,
            _length: usize,
        ) -> Result<Self::SerializeStruct, Misfit> {
            no(())
        }

        fn serialize_struct_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Self::SerializeStructVariant, Misfit> {
            no(())
        }
    };
}

pub(super) use {no_compounds, scalars};

/// Succeeds for nothing, fails for everything else.
pub(super) struct Probe;

impl Serializer for Probe {
    no_compounds!(());
    no_numbers!(());

    scalars! { ():
        serialize_char(char) => no,
        serialize_str(&str) => no,
        serialize_bytes(&[u8]) => no,
        serialize_unit_struct(&'static str) => |_| Ok(()),
    }

    fn serialize_none(self) -> Result<(), Misfit> {
        no(())
    }

    fn serialize_unit(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
    ) -> Result<(), Misfit> {
        no(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Misfit> {
        if name == CARRIED { no(()) } else { value.serialize(self) }
    }
}

/// Succeeds for what [`crate::Form::Raw`] says without JSON.
struct ToRaw;

impl Serializer for ToRaw {
    no_compounds!(Payload<'static>);
    no_numbers!(Payload<'static>);

    scalars! { Payload<'static>:
        serialize_char(char) => |source: char| Ok(Payload::Text(Cow::Owned(source.to_string()))),
        serialize_str(&str) => |source: &str| Ok(Payload::Text(Cow::Owned(source.to_owned()))),
        serialize_bytes(&[u8]) => |source: &[u8]| Ok(Payload::Binary(Cow::Owned(source.to_vec()))),
        serialize_unit_struct(&'static str) => |_| Ok(Payload::Undefined),
    }

    fn serialize_none(self) -> Result<Payload<'static>, Misfit> {
        Ok(Payload::Undefined)
    }

    fn serialize_unit(self) -> Result<Payload<'static>, Misfit> {
        Ok(Payload::Undefined)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Payload<'static>, Misfit> {
        Ok(Payload::Text(Cow::Borrowed(variant)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Payload<'static>, Misfit> {
        if name == CARRIED
            && let Some(Value::Bytes(_, bytes)) = carried::wanted(value)
        {
            return Ok(Payload::Binary(Cow::Owned(bytes)));
        }
        // What is carried says itself plainly, as text or as an error.
        value.serialize(self)
    }
}
