//! Reading JSON: a tree of values first, of which structures take their fields.
//!
//! Readers that `serde` derives are compiled anew for every structure, each with all the kinds of value that its fields
//! can't be: they were 35 KB of the component.

use serde_json::Value;

use crate::ordered::Map;

/// Reads a `T` from text.
///
/// # Errors
/// It is no JSON, or no `T`: says where or which field.
pub(crate) fn read<T: FromJson>(json: &[u8]) -> Result<T, String> {
    let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    T::from_json(value)
}

/// What is read from a value.
pub(crate) trait FromJson: Sized {
    /// # Errors
    /// The value is something else: says what, or which field.
    fn from_json(value: Value) -> Result<Self, String>;

    /// What it is where it is not there; `None` where it has to be.
    fn absent() -> Option<Self> {
        None
    }
}

/// A structure, read from an object. Fields that it does not know are ignored.
pub(crate) trait FromFields {
    /// Takes each of its fields.
    fn from_fields(fields: &mut Fields) -> Self;
}

/// The key of a map, which may stand for a number.
pub(crate) trait FromKey: Sized {
    /// `None`: it stands for none.
    fn from_key(key: String) -> Option<Self>;
}

/// The fields of an object. The first that is wrong is noted, so that a structure is made in one go.
pub(crate) struct Fields {
    object: serde_json::Map<String, Value>,
    wrong: Option<String>,
}

impl Fields {
    /// A field that has to be there, but for an `Option`.
    pub(crate) fn required<T: FromJson + Default>(&mut self, name: &str) -> T {
        self.field(name, T::absent())
    }

    /// A field that is the default where it is not there.
    pub(crate) fn optional<T: FromJson + Default>(&mut self, name: &str) -> T {
        self.field(name, Some(T::default()))
    }

    fn field<T: FromJson + Default>(&mut self, name: &str, absent: Option<T>) -> T {
        let field = match self.object.get_mut(name).map(Value::take) {
            Some(value) => T::from_json(value).map_err(|cause| within(name, &cause)),
            None => absent.ok_or_else(|| format!("missing field `{name}`")),
        };
        field.unwrap_or_else(|cause| {
            self.wrong.get_or_insert(cause);
            T::default()
        })
    }
}

impl<T: FromFields> FromJson for T {
    fn from_json(value: Value) -> Result<Self, String> {
        let mut fields = Fields { object: object(value)?, wrong: None };
        let made = T::from_fields(&mut fields);
        match fields.wrong {
            None => Ok(made),
            Some(cause) => Err(cause),
        }
    }
}

impl FromJson for Value {
    fn from_json(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| unexpected("true or false", &value))
    }
}

impl FromJson for u64 {
    fn from_json(value: Value) -> Result<Self, String> {
        value.as_u64().ok_or_else(|| unexpected("a whole number", &value))
    }
}

impl FromJson for u32 {
    fn from_json(value: Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| unexpected("a whole number below 2^32", &value))
    }
}

impl FromJson for String {
    fn from_json(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(unexpected("a text", &other)),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: Value) -> Result<Self, String> {
        if value.is_null() { Ok(None) } else { T::from_json(value).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: Value) -> Result<Self, String> {
        let Value::Array(values) = value else { return Err(unexpected("an array", &value)) };
        let mut items = Self::new();
        for value in values {
            items.push(T::from_json(value)?);
        }
        Ok(items)
    }
}

impl<K: FromKey + Ord, V: FromJson> FromJson for Map<K, V> {
    fn from_json(value: Value) -> Result<Self, String> {
        let mut map = Self::new();
        for (name, value) in object(value)? {
            let value = V::from_json(value).map_err(|cause| within(&name, &cause))?;
            map.insert(key(name)?, value);
        }
        Ok(map)
    }
}

impl FromKey for String {
    fn from_key(key: String) -> Option<Self> {
        Some(key)
    }
}

impl FromKey for u64 {
    fn from_key(key: String) -> Option<Self> {
        key.parse().ok()
    }
}

impl FromKey for u32 {
    fn from_key(key: String) -> Option<Self> {
        key.parse().ok()
    }
}

fn key<K: FromKey>(name: String) -> Result<K, String> {
    let wrong = format!("the name `{name}` in place of a number");
    K::from_key(name).ok_or(wrong)
}

fn object(value: Value) -> Result<serde_json::Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(unexpected("an object", &other)),
    }
}

fn within(name: &str, cause: &str) -> String {
    format!("field `{name}`: {cause}")
}

fn unexpected(wanted: &str, value: &Value) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) => return format!("{number} in place of {wanted}"),
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{kind} in place of {wanted}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Part {
        id: u32,
        note: Option<String>,
        counts: Map<u64, Vec<u64>>,
        rest: Value,
        parts: Vec<Part>,
    }

    impl FromFields for Part {
        fn from_fields(fields: &mut Fields) -> Self {
            Self {
                id: fields.required("id"),
                note: fields.required("note"),
                counts: fields.optional("counts"),
                rest: fields.optional("rest"),
                parts: fields.optional("parts"),
            }
        }
    }

    #[test]
    fn a_structure_is_read_from_its_fields() {
        let one = Part { id: 1, ..Part::default() };
        let whole = Part {
            id: u32::MAX,
            note: Some("x".to_owned()),
            counts: Map::from([(7, vec![]), (u64::MAX, vec![1, 2])]),
            rest: serde_json::json!({"a": [1.5, -1]}),
            parts: vec![Part { id: 1, ..Part::default() }],
        };
        for (json, part) in [
            (r#"{"id": 1}"#, &one),
            (r#"{"id": 1, "note": null, "counts": {}, "rest": null, "unknown": [1, {"a": 2}]}"#, &one),
            (
                r#"{"id": 4294967295, "note": "x", "counts": {"18446744073709551615": [1, 2], "7": []},
                    "rest": {"a": [1.5, -1]}, "parts": [{"id": 1}]}"#,
                &whole,
            ),
        ] {
            assert_eq!(&read::<Part>(json.as_bytes()).unwrap(), part, "{json}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, cause) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "an array in place of an object"),
            ("null", "null in place of an object"),
            ("{}", "missing field `id`"),
            (r#"{"id": null}"#, "field `id`: null in place of a whole number below 2^32"),
            (r#"{"id": -1}"#, "field `id`: -1 in place of a whole number below 2^32"),
            (r#"{"id": 1.0}"#, "field `id`: 1.0 in place of a whole number below 2^32"),
            (r#"{"id": 4294967296}"#, "field `id`: 4294967296 in place of a whole number below 2^32"),
            (r#"{"id": "1"}"#, "field `id`: a text in place of a whole number below 2^32"),
            (r#"{"id": 1, "note": 1}"#, "field `note`: 1 in place of a text"),
            (r#"{"id": 1, "counts": null}"#, "field `counts`: null in place of an object"),
            (r#"{"id": 1, "counts": {"x": []}}"#, "field `counts`: the name `x` in place of a number"),
            (r#"{"id": 1, "counts": []}"#, "field `counts`: an array in place of an object"),
            (r#"{"id": 1, "counts": {"1": {}}}"#, "field `counts`: field `1`: an object in place of an array"),
            (r#"{"id": 1, "counts": {"1": [-1]}}"#, "field `counts`: field `1`: -1 in place of a whole number"),
            // The first of two.
            (r#"{"note": true, "parts": [{"id": 1}, {}]}"#, "missing field `id`"),
            (r#"{"id": 1, "parts": [{"id": 1}, {}]}"#, "field `parts`: missing field `id`"),
        ] {
            assert_eq!(read::<Part>(json.as_bytes()).unwrap_err(), cause, "{json}");
        }
    }
}
