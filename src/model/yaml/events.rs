//! All of YAML, by way of granit-parser's events.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{DEPTH, Stop, visit_scalar};

/// Reads a stream of one document.
pub(super) fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Stop> {
    let options = granit_parser::options! { block_nesting_limit: DEPTH, flow_nesting_limit: DEPTH };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut events = Events { parser, line: 1, column: 1 };
    let mut event = events.next()?;
    while matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
        event = events.next()?;
    }
    if event == Event::StreamEnd {
        return T::deserialize(().into_deserializer());
    }
    let value = T::deserialize(Node { events: &mut events, event })?;
    loop {
        match events.next()? {
            Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(value),
            _ => {
                return Err(events.stop("a state file is one document; put the others in files of their own"));
            }
        }
    }
}

/// The parser, and where its last event began.
struct Events<'de> {
    parser: Parser<'de, StrInput<'de>>,
    line: usize,
    column: usize,
}

impl<'de> Events<'de> {
    fn next(&mut self) -> Result<Event<'de>, Stop> {
        match self.parser.next() {
            Some(Ok((event, Span { start, .. }))) => {
                (self.line, self.column) = (start.line(), start.col() + 1);
                Ok(event)
            }
            Some(Err(error)) => Err(Stop::Syntax {
                line: error.marker().line(),
                column: error.marker().col() + 1,
                message: error.info(),
            }),
            None => Err(self.stop("the text ends too early")),
        }
    }

    fn stop(&self, message: &str) -> Stop {
        Stop::Syntax { line: self.line, column: self.column, message: message.to_owned() }
    }
}

/// The node that begins with `event`.
struct Node<'e, 'de> {
    events: &'e mut Events<'de>,
    event: Event<'de>,
}

impl<'de> de::Deserializer<'de> for Node<'_, 'de> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let Self { events, event } = self;
        match event {
            Event::Scalar(text, style, _, None) => visit_scalar(text, style != ScalarStyle::Plain, visitor),
            Event::SequenceStart(_, _, None) => visitor.visit_seq(Items(events)),
            Event::MappingStart(_, _, None) => visitor.visit_map(Items(events)),
            Event::Alias(_) => Err(events.stop("an alias (*name) is not read; write out what it stands for")),
            _ => Err(events.stop("a tag (!name) is not read; leave it out")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The rest of a collection.
struct Items<'e, 'de>(&'e mut Events<'de>);

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        match self.0.next()? {
            Event::SequenceEnd => Ok(None),
            event => seed.deserialize(Node { events: self.0, event }).map(Some),
        }
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        match self.0.next()? {
            Event::MappingEnd => Ok(None),
            // A key is text, whatever it looks like: JSON has no other.
            Event::Scalar(Cow::Borrowed(text), ..) => {
                seed.deserialize(de::value::BorrowedStrDeserializer::new(text)).map(Some)
            }
            Event::Scalar(Cow::Owned(text), ..) => seed.deserialize(text.into_deserializer()).map(Some),
            _ => Err(self.0.stop("a key must be plain text")),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let event = self.0.next()?;
        seed.deserialize(Node { events: self.0, event })
    }
}
