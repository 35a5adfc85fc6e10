//! The macro that defines the maps of state documents.

/// Defines maps: their keys that count, and those that only describe.
///
/// A `resource` has its id first and keeps what describes it; a `part` drops that.
macro_rules! maps {
    ($(
        $(#[$doc:meta])*
        $role:ident $name:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal,)*
        } described by [$($descriptive:literal),* $(,)?]
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(in crate::model) struct $name<'a> {
            $($(#[$field_doc])* pub(in crate::model) $field: $type,)*
            /// The other keys.
            pub(in crate::model) notes: Notes<'a>,
        }

        impl $name<'_> {
            const KEYS: &'static [&'static str] = &[$($key),*];
            const DESCRIPTIVE: &'static [&'static str] = &[$($descriptive),*];
        }

        impl<'de> Shape<'de> for $name<'de> {
            fn wrong(kind: &'static str) -> Self {
                Self { notes: Notes::wrong(kind), ..Self::default() }
            }

            fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                let mut this = Self::default();
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        $($key if this.$field.is_missing() => this.$field = map.next_value()?,)*
                        $($key => this.notes.repeated(Cow::Borrowed($key), &mut map)?,)*
                        _ => this.notes.other(key, Self::DESCRIPTIVE, maps!(@keep $role), &mut map)?,
                    }
                }
                Ok(this)
            }
        }

        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::deserialize(deserializer)
            }
        }

        impl Check for $name<'_> {
            fn check(&self, path: Path<'_>, resource: &str, report: &mut Report<'_>) {
                let resource = maps!(@id $role self resource $($field)*);
                self.notes.check(path, resource, &[Self::KEYS, Self::DESCRIPTIVE], report);
                $(self.$field.check(Path::Key(&path, $key), resource, report);)*
            }

            fn is_missing(&self) -> bool {
                $(self.$field.is_missing() &&)* self.notes.is_empty()
            }
        }
    )*};
    (@keep resource) => { true };
    (@keep part) => { false };
    (@id resource $self:ident $resource:ident $id:ident $($field:ident)*) => { $self.$id.get().unwrap_or($resource) };
    (@id part $self:ident $resource:ident $($field:ident)*) => { $resource };
}

pub(super) use maps;

/// What the macro's code names.
pub(super) mod prelude {
    pub(in super::super) use std::borrow::Cow;

    pub(in super::super) use serde::de::{Deserialize, Deserializer, MapAccess};

    pub(in super::super) use super::super::{Check, Key, Notes, Path, Report, Shape};
}
