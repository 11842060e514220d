//! Reading JSON.

use std::vec::IntoIter;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// Reads a `T` from text: through [`Value`], since everything else would be compiled once for text and once for values.
///
/// # Errors
/// It is no JSON, or no `T`: says where or which field.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    from_value(value(json)?)
}

fn value(json: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(json)
}

/// Reads a `T`.
///
/// # Errors
/// It is none: says which field.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Json(value))
}

/// A value that is read as what it is. `serde_json`'s own way also reads every structure from an array of its fields,
/// which nobody writes, and which is 15 KB of the component.
struct Json(Value);

impl<'de> Deserializer<'de> for Json {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Json))),
            other => Err(unexpected("an array", &other)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => {
                let fields: Vec<(Key, Json)> =
                    fields.into_iter().map(|(name, value)| (Key(name), Json(value))).collect();
                visitor.visit_map(MapDeserializer::<IntoIter<(Key, Json)>, Error>::new(fields.into_iter()))
            }
            other => Err(unexpected("an object", &other)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The name of a field, which may stand for a number.
struct Key(String);

impl<'de> Deserializer<'de> for Key {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_string(self.0),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Key {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn unexpected(wanted: &str, value: &Value) -> Error {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::custom(format!("{kind} in place of {wanted}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ordered::Map;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        id: u32,
        #[serde(default)]
        note: Option<String>,
        #[serde(default)]
        counts: Map<u64, Vec<u64>>,
        #[serde(default)]
        rest: Value,
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        for json in [
            r#"{"id": 1}"#,
            r#"{"id": 1, "note": null, "counts": {}, "rest": null, "unknown": [1, {"a": 2}]}"#,
            r#"{"id": 4294967295, "note": "x", "counts": {"18446744073709551615": [1, 2], "7": []}, "rest": {"a": [1.5, -1]}}"#,
        ] {
            assert_eq!(read::<Part>(json.as_bytes()).unwrap(), serde_json::from_str::<Part>(json).unwrap(), "{json}");
        }
        for json in [
            "{",
            "[]",
            "null",
            r#"{"id": -1}"#,
            r#"{"id": 1, "note": 1}"#,
            r#"{"id": 1, "counts": {"x": []}}"#,
            r#"{"id": 1, "counts": []}"#,
            r#"{"id": 1, "counts": {"1": {}}}"#,
            "{}",
        ] {
            assert!(read::<Part>(json.as_bytes()).is_err() && serde_json::from_str::<Part>(json).is_err(), "{json}");
        }
    }
}
