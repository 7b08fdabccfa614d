//! Objects in JSON. What is derived for a struct also takes an array, as the values of its fields
//! in their order, which nobody documents: here only names count.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A struct that is read from an object alone.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Reads the objects of an array.
pub(crate) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(from)?;
    Ok(objects.into_iter().map(|Object(one)| one).collect())
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::borrow::Cow;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        number: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Pairs<'a> {
        #[serde(borrow, deserialize_with = "objects")]
        pairs: Vec<Pair<'a>>,
    }

    #[test]
    fn an_object_is_read_by_its_names_without_a_copy() {
        let Object(pair) = serde_json::from_str(r#"{"number":2,"name":"a"}"#).unwrap();
        let Pair { name, number } = pair;
        assert!(matches!(name, Cow::Borrowed("a")));
        assert_eq!(number, Some(2));
        let text = r#"{"pairs":[{"name":"a"},{"name":"b","number":1}]}"#;
        let Object(Pairs { pairs }) = serde_json::from_str(text).unwrap();
        assert_eq!(pairs.len(), 2);
    }

    #[test]
    fn anything_else_is_none() {
        for text in [r#"["a",2]"#, "[]", "3", "\"a\"", "null"] {
            let error = serde_json::from_str::<Object<Pair<'_>>>(text).unwrap_err();
            assert!(error.to_string().contains("expected an object"), "{error}");
        }
        let text = r#"{"pairs":[["a",2]]}"#;
        let error = serde_json::from_str::<Object<Pairs<'_>>>(text).unwrap_err();
        assert!(error.to_string().contains("expected an object"), "{error}");
        let unknown = r#"{"name":"a","more":1}"#;
        assert!(serde_json::from_str::<Object<Pair<'_>>>(unknown).is_err());
    }
}
