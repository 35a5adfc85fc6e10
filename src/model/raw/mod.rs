//! State documents as they were written: any shape is read, what is wrong with it is kept and reported later.
//!
//! Nothing here stops at a mistake. Scalars are text; a value of the wrong kind, an unknown key and a repeated key
//! are recorded where they are, and [`Check::check`] finds them with their paths. `shapes`, `attachments`,
//! `security`, `monitoring`, `gateways` and `transit` list the keys.

mod attachments;
mod gateways;
mod maps;
mod monitoring;
mod security;
mod shapes;
mod transit;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub(super) use self::{attachments::*, gateways::*, monitoring::*, security::*, shapes::*, transit::*};
use super::Descriptive;

/// The place of a value in a document, from the innermost step outwards.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// The document.
    Root,
    /// The value of a key.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list, from 0.
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Takes what is wrong with the shape of a document: where, the resource's id, the problem, the fix.
pub(super) type Report<'r> = dyn FnMut(Path<'_>, &str, String, String) + 'r;

/// A value that knows what is wrong with its shape.
pub(super) trait Check {
    /// Reports the mistakes in the value and below it. `resource` is the id of the resource around it.
    fn check(&self, path: Path<'_>, resource: &str, report: &mut Report<'_>);

    /// Whether nothing of it has been read, as for a key left out.
    fn is_missing(&self) -> bool;
}

/// The shape of a value; what it cannot be becomes [`Shape::wrong`]. The default is that of a key left out.
trait Shape<'de>: Default {
    /// The value, when a document has `kind` in its place.
    fn wrong(kind: &'static str) -> Self;

    fn scalar(_: Cow<'de, str>) -> Self {
        Self::wrong("text")
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::wrong("a list"))
    }

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::wrong("a map"))
    }
}

/// Reads whatever is there as a shape.
struct ShapeVisitor<S>(PhantomData<S>);

impl<'de, S: Shape<'de>> Visitor<'de> for ShapeVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list or a map")
    }

    fn visit_unit<E: Error>(self) -> Result<S, E> {
        Ok(S::default())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<S, E> {
        Ok(S::scalar(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<S, E> {
        Ok(S::scalar(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<S, E> {
        Ok(S::scalar(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<S, E> {
        Ok(S::scalar(Cow::Owned(value.to_string())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S, E> {
        Ok(S::scalar(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<S, E> {
        Ok(S::scalar(Cow::Borrowed(text)))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<S, E> {
        Ok(S::scalar(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S, A::Error> {
        S::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S, A::Error> {
        S::map(map)
    }
}

fn deserialize<'de, S: Shape<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<S, D::Error> {
    deserializer.deserialize_any(ShapeVisitor(PhantomData))
}

/// A scalar, as its text.
#[derive(Debug, Default)]
pub(super) enum Text<'a> {
    /// The key was left out, or null.
    #[default]
    Missing,
    /// The text; `true` and `false` for booleans, digits for numbers.
    Value(Cow<'a, str>),
    /// Something else, which [`Check::check`] reports.
    Wrong(&'static str),
}

impl Text<'_> {
    /// The text, if there is one.
    pub(super) fn get(&self) -> Option<&str> {
        if let Self::Value(text) = self { Some(text) } else { None }
    }

    /// Whether there is text. The AWS CLI prints some keys that do not apply as empty text.
    pub(super) fn is_stated(&self) -> bool {
        self.get().is_some_and(|text| !text.is_empty())
    }

    /// Whether a resource whose `State` this is counts. EC2 goes on listing for a while what it has taken away.
    pub(super) fn in_force(&self) -> bool {
        const GONE: [&str; 15] = [
            "deleted",
            "deleting",
            "detached",
            "detaching",
            "disabled",
            "disabling",
            "disassociated",
            "disassociating",
            "expired",
            "failed",
            "failing",
            "rejected",
            "rejecting",
            "rolling-back",
            "rollingBack",
        ];
        self.get().is_none_or(|state| GONE.iter().all(|gone| !gone.eq_ignore_ascii_case(state)))
    }
}

impl<'de> Shape<'de> for Text<'de> {
    fn wrong(kind: &'static str) -> Self {
        Self::Wrong(kind)
    }

    fn scalar(text: Cow<'de, str>) -> Self {
        Self::Value(text)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer)
    }
}

impl Check for Text<'_> {
    fn check(&self, path: Path<'_>, resource: &str, report: &mut Report<'_>) {
        if let Self::Wrong(kind) = self {
            report(path, resource, format!("is {kind}"), "write one value".to_owned());
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// A list of shapes.
#[derive(Debug, Default)]
pub(super) enum List<T> {
    /// The key was left out, or null.
    #[default]
    Missing,
    /// The items.
    Items(Vec<T>),
    /// Something else, which [`Check::check`] reports.
    Wrong(&'static str),
}

impl<T> List<T> {
    /// The items; none if the key was left out.
    pub(super) fn items(&self) -> &[T] {
        if let Self::Items(items) = self { items } else { &[] }
    }
}

impl<'de, T: Deserialize<'de>> Shape<'de> for List<T>
where
    Self: Default,
{
    fn wrong(kind: &'static str) -> Self {
        Self::Wrong(kind)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.is_empty() {
                // Most lists of a state have one item; four, as `Vec` starts with, would be a waste a million times.
                items.reserve_exact(1);
            }
            items.push(item);
        }
        Ok(Self::Items(items))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T>
where
    Self: Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer)
    }
}

impl<T: Check> Check for List<T> {
    fn check(&self, path: Path<'_>, resource: &str, report: &mut Report<'_>) {
        match self {
            Self::Missing => {}
            Self::Items(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.check(Path::Index(&path, index), resource, report);
                }
            }
            Self::Wrong(kind) => {
                report(path, resource, format!("is {kind}"), "write a list, of one item too".to_owned());
            }
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// What a map has besides the keys that count. Nothing, mostly, and then it costs one pointer.
#[derive(Debug, Default)]
pub(super) struct Notes<'a>(Option<Box<NotesInner<'a>>>);

#[derive(Debug, Default)]
struct NotesInner<'a> {
    /// What stood in the place of the map.
    wrong: Option<&'static str>,
    unknown: Vec<Cow<'a, str>>,
    repeated: Vec<Cow<'a, str>>,
    descriptive: serde_json::Map<String, serde_json::Value>,
}

impl<'a> Notes<'a> {
    fn wrong(kind: &'static str) -> Self {
        Self(Some(Box::new(NotesInner { wrong: Some(kind), ..NotesInner::default() })))
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn inner(&mut self) -> &mut NotesInner<'a> {
        self.0.get_or_insert_default()
    }

    /// Takes the value of a key that was there before.
    fn repeated<A: MapAccess<'a>>(&mut self, key: Cow<'a, str>, map: &mut A) -> Result<(), A::Error> {
        self.inner().repeated.push(key);
        map.next_value::<IgnoredAny>().map(|_| ())
    }

    /// Takes the value of a key that does not count, and keeps it if it is descriptive and `keep` says so.
    fn other<A: MapAccess<'a>>(
        &mut self,
        key: Cow<'a, str>,
        descriptive: &[&str],
        keep: bool,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if !descriptive.contains(&&*key) {
            self.inner().unknown.push(key);
        } else if keep {
            if self.inner().descriptive.contains_key(&*key) {
                return self.repeated(key, map);
            }
            let value = map.next_value()?;
            self.inner().descriptive.insert(key.into_owned(), value);
            return Ok(());
        }
        map.next_value::<IgnoredAny>().map(|_| ())
    }

    /// The descriptive keys.
    pub(super) fn descriptive(&self) -> Descriptive {
        let map = &self.0.as_ref()?.descriptive;
        (!map.is_empty()).then(|| Box::new(map.clone()))
    }

    fn check(&self, path: Path<'_>, resource: &str, keys: &[&[&str]], report: &mut Report<'_>) {
        let Some(notes) = &self.0 else { return };
        if let Some(kind) = notes.wrong {
            report(path, resource, format!("is {kind}"), "write a map of keys and values".to_owned());
        }
        for key in &notes.unknown {
            let known = keys.iter().copied().flatten();
            let fix = match known.map(|known| (distance(key, known), known)).min() {
                Some((distance, near)) if distance <= near.len() / 2 => format!("did you mean {near}?"),
                _ => {
                    let counting = keys.first().copied().unwrap_or_default().join(", ");
                    format!("leave it out; the keys here are {counting}")
                }
            };
            report(Path::Key(&path, key), resource, format!("the key {key} is unknown"), fix);
        }
        for key in &notes.repeated {
            let problem = format!("the key {key} is there more than once");
            report(Path::Key(&path, key), resource, problem, "write it once".to_owned());
        }
    }
}

/// A key of a map.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// How many letters differ, regardless of case (Levenshtein's distance). Only a key's first letters count, so that
/// an absurdly long key costs no time.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.chars().take(64).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *slot;
            left = replaced.min(left + 1).min(diagonal + 1);
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("CidrBlok", "CidrBlock"), 1);
        assert_eq!(distance("subnetid", "SubnetId"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn any_shape_is_read_and_reported() {
        let json = r#"{"Vpcs": [{"VpcId": ["x"], "CidrBlok": 1, "State": "a", "CidrBlock": "1", "CidrBlock": "2"}, 7],
            "Subnets": "none", "Warren": {"Hosts": {}}}"#;
        let state: State<'_> = serde_json::from_str(json).unwrap();
        let mut found = Vec::new();
        state.check(Path::Root, "", &mut |path, _, problem, fix| {
            found.push(format!("{path}: {problem}; {fix}"));
        });
        assert_eq!(
            found,
            [
                "Vpcs[0].CidrBlok: the key CidrBlok is unknown; did you mean CidrBlock?",
                "Vpcs[0].CidrBlock: the key CidrBlock is there more than once; write it once",
                "Vpcs[0].VpcId: is a list; write one value",
                "Vpcs[1]: is text; write a map of keys and values",
                "Subnets: is text; write a list, of one item too",
                "Warren.Hosts: is a map; write a list, of one item too",
            ]
        );
    }
}
