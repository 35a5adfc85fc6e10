//! The YAML that programs write, fast: block collections, flow collections on one line, scalars on one line.
//!
//! It stops with [`Stop::Unusual`] at everything else: escapes, tabs, anchors, tags, block scalars, scalars over
//! several lines, unusual keys, and all that is wrong. So it never has to know how YAML would read it, nor to report.

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};

use super::{DEPTH, Stop, visit_scalar};

/// Longest key; YAML itself looks 1024 characters far for the colon.
const KEY_LENGTH: usize = 128;

/// Reads a document of the plain form.
pub(super) fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Stop> {
    let mut reader = Reader { text, position: 0, column: 1, depth: 0 };
    reader.content()?;
    if reader.column == 1 && reader.rest().starts_with(b"---\n") {
        reader.position += 3;
        reader.next_line()?;
    }
    // The key test leaves a lone scalar or flow collection, and an indented document, to the other reader.
    if reader.column != 1 || !(reader.at_key() || reader.at_dash()) {
        return Err(Stop::Unusual);
    }
    let value = T::deserialize(Block { reader: &mut reader })?;
    if reader.column == 0 { Ok(value) } else { Err(Stop::Unusual) }
}

/// The text, and the place in it.
///
/// Between nodes the place is the first character of a line's content (or of a compact collection in a list item).
struct Reader<'de> {
    text: &'de str,
    /// Byte offset.
    position: usize,
    /// The content's column, from 1; 0 at the end of the text, which so is less indented than everything.
    column: usize,
    /// Collections around the place.
    depth: usize,
}

impl<'de> Reader<'de> {
    fn rest(&self) -> &'de [u8] {
        self.text.as_bytes().get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_blanks(&mut self) {
        self.position += self.rest().iter().take_while(|&&byte| byte == b' ').count();
    }

    /// Whether nothing but blanks and a comment is left of the line; then moves to its end.
    fn at_line_end(&mut self) -> Result<bool, Stop> {
        self.skip_blanks();
        let before = self.position.checked_sub(1).and_then(|before| self.text.as_bytes().get(before));
        match self.peek() {
            None | Some(b'\n') => Ok(true),
            // A comment needs a blank before it, or the line's start.
            Some(b'#') if matches!(before, None | Some(b' ' | b'\n')) => {
                let comment = self.rest().iter().take_while(|&&byte| byte != b'\n');
                let mut length = 0;
                for &byte in comment {
                    if !is_usual(byte) {
                        return Err(Stop::Unusual);
                    }
                    length += 1;
                }
                self.position += length;
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// From a line's start to the next content.
    fn content(&mut self) -> Result<(), Stop> {
        loop {
            let start = self.position;
            if !self.at_line_end()? {
                self.column = self.position - start + 1;
                return Ok(());
            }
            if self.peek().is_none() {
                self.column = 0;
                return Ok(());
            }
            self.position += 1;
        }
    }

    /// From a line's end to the next content.
    fn next_line(&mut self) -> Result<(), Stop> {
        if self.peek().is_some() {
            self.position += 1;
        }
        self.content()
    }

    /// Ends a line whose scalar or flow collection has been read.
    fn end_line(&mut self) -> Result<(), Stop> {
        if !self.at_line_end()? {
            return Err(Stop::Unusual);
        }
        self.next_line()
    }

    /// Whether a list item begins here.
    fn at_dash(&self) -> bool {
        matches!(self.rest(), [b'-'] | [b'-', b' ' | b'\n', ..])
    }

    /// The length of the key that begins here, if one does: letters, digits, `_`, `-` and `.`, then a colon.
    fn key_length(&self) -> Option<usize> {
        let rest = self.rest();
        let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = rest.iter().take(KEY_LENGTH).take_while(|byte| is_key(byte)).count();
        let ends = matches!(rest.get(length..)?, [b':'] | [b':', b' ' | b'\n', ..]);
        (ends && rest.first()?.is_ascii_alphabetic()).then_some(length)
    }

    fn at_key(&self) -> bool {
        self.key_length().is_some()
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<&'de str, Stop> {
        let length = self.key_length().ok_or(Stop::Unusual)?;
        let key = self.slice(length)?;
        self.position += 1;
        Ok(key)
    }

    /// Moves over `length` bytes and returns them.
    fn slice(&mut self, length: usize) -> Result<&'de str, Stop> {
        let end = self.position + length;
        let slice = self.text.get(self.position..end).ok_or(Stop::Unusual)?;
        self.position = end;
        Ok(slice)
    }

    /// Reads a scalar or flow collection, in the line of a key or dash or inside a flow collection.
    fn inline<V: Visitor<'de>>(&mut self, in_flow: bool, visitor: V) -> Result<V::Value, Stop> {
        match self.peek() {
            Some(open @ (b'[' | b'{')) => {
                self.position += 1;
                self.enter()?;
                let value = if open == b'[' {
                    visitor.visit_seq(Flow { reader: &mut *self, close: b']', first: true })?
                } else {
                    visitor.visit_map(Flow { reader: &mut *self, close: b'}', first: true })?
                };
                self.depth -= 1;
                Ok(value)
            }
            Some(quote @ (b'"' | b'\'')) => {
                self.position += 1;
                let mut length = 0;
                for &byte in self.rest() {
                    if byte == quote {
                        break;
                    }
                    if byte == b'\n' || byte == b'\\' || !is_usual(byte) {
                        return Err(Stop::Unusual);
                    }
                    length += 1;
                }
                let text = self.slice(length)?;
                // A doubled quote goes on; a colon makes it a key.
                let closes = matches!(
                    self.rest(),
                    [q] | [q, b' ' | b'\n' | b',' | b']' | b'}', ..] if *q == quote
                );
                self.position += 1;
                if closes { visit_scalar(Cow::Borrowed(text), true, visitor) } else { Err(Stop::Unusual) }
            }
            _ => {
                let length = self.plain_length(in_flow)?;
                let text = self.slice(length)?.trim_end_matches(' ');
                visit_scalar(Cow::Borrowed(text), false, visitor)
            }
        }
    }

    /// The length of the unquoted scalar that begins here, with the blanks behind it.
    fn plain_length(&self, in_flow: bool) -> Result<usize, Stop> {
        let rest = self.rest();
        let starts = match rest {
            [b'-', second, ..] => second.is_ascii_alphanumeric(),
            [b':', b':', ..] => !in_flow,
            [first, ..] => {
                first.is_ascii_alphanumeric() || matches!(first, b'/' | b'.' | b'_' | b'~' | b'+' | b'(')
            }
            [] => false,
        };
        if !starts {
            return Err(Stop::Unusual);
        }
        let mut previous = b' ';
        for (index, &byte) in rest.iter().enumerate() {
            match byte {
                b'\n' => return Ok(index),
                b',' | b']' | b'}' if in_flow => return Ok(index),
                b'[' | b'{' if in_flow => return Err(Stop::Unusual),
                b'#' if previous == b' ' => return Ok(index),
                // A colon before a blank, the line's end or a flow indicator makes a key of what is before it.
                b':' => match rest.get(index + 1) {
                    None | Some(b' ' | b'\n') => return Err(Stop::Unusual),
                    Some(b',' | b'[' | b']' | b'{' | b'}') if in_flow => return Err(Stop::Unusual),
                    Some(_) => {}
                },
                byte if !is_usual(byte) => return Err(Stop::Unusual),
                _ => {}
            }
            previous = byte;
        }
        Ok(rest.len())
    }

    fn enter(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth < DEPTH { Ok(()) } else { Err(Stop::Unusual) }
    }
}

/// Bytes that mean nothing in themselves: no control characters (nor the lead bytes of Unicode's), and no tab, which
/// YAML treats as white space in some places.
fn is_usual(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e | 0x80..=0xbf | 0xc3..=0xe1 | 0xe3..=0xee | 0xf0..=0xf4)
}

/// A block collection that begins at the reader's place, or a scalar or flow collection in its line.
struct Block<'r, 'de> {
    reader: &'r mut Reader<'de>,
}

impl<'de> de::Deserializer<'de> for Block<'_, 'de> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let reader = self.reader;
        let column = reader.column;
        let (dash, key) = (reader.at_dash(), reader.at_key());
        if !dash && !key {
            let value = reader.inline(false, visitor)?;
            reader.end_line()?;
            return Ok(value);
        }
        reader.enter()?;
        let items = BlockItems { reader: &mut *reader, column };
        let value = if dash { visitor.visit_seq(items)? } else { visitor.visit_map(items)? };
        reader.depth -= 1;
        Ok(value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The rest of a block collection, whose keys or dashes stand in `column`.
struct BlockItems<'r, 'de> {
    reader: &'r mut Reader<'de>,
    column: usize,
}

impl<'de> BlockItems<'_, 'de> {
    /// Whether another item or key may begin here. More indentation is a scalar that goes on, or an error.
    fn more(&self) -> Result<bool, Stop> {
        if self.reader.column > self.column {
            Err(Stop::Unusual)
        } else {
            Ok(self.reader.column == self.column)
        }
    }

    /// What stands below a key or dash with nothing behind it: something more indented, or nothing.
    fn below<T: DeserializeSeed<'de>>(&mut self, seed: T, key: bool) -> Result<T::Value, Stop> {
        self.reader.next_line()?;
        // A list may stand as far left as the key it belongs to.
        let list = key && self.reader.column == self.column && self.reader.at_dash();
        if self.reader.column <= self.column && !list {
            return seed.deserialize(Null);
        }
        if self.reader.at_dash() || self.reader.at_key() {
            seed.deserialize(Block { reader: self.reader })
        } else {
            Err(Stop::Unusual)
        }
    }
}

impl<'de> SeqAccess<'de> for BlockItems<'_, 'de> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        // The keys of the map around a list may stand as far left as its dashes.
        if !self.more()? || !self.reader.at_dash() {
            return Ok(None);
        }
        self.reader.position += 1;
        let start = self.reader.position;
        if self.reader.at_line_end()? {
            return self.below(seed, false).map(Some);
        }
        self.reader.column += 1 + self.reader.position - start;
        seed.deserialize(Block { reader: self.reader }).map(Some)
    }
}

impl<'de> MapAccess<'de> for BlockItems<'_, 'de> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        if !self.more()? {
            return Ok(None);
        }
        let key = self.reader.key()?;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        if self.reader.at_line_end()? {
            return self.below(seed, true);
        }
        let value = seed.deserialize(Inline { reader: self.reader, in_flow: false })?;
        self.reader.end_line()?;
        Ok(value)
    }
}

/// A scalar or flow collection in a line.
struct Inline<'r, 'de> {
    reader: &'r mut Reader<'de>,
    in_flow: bool,
}

impl<'de> de::Deserializer<'de> for Inline<'_, 'de> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.reader.inline(self.in_flow, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Nothing where a value could be.
struct Null;

impl<'de> de::Deserializer<'de> for Null {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The rest of a flow collection.
struct Flow<'r, 'de> {
    reader: &'r mut Reader<'de>,
    close: u8,
    first: bool,
}

impl Flow<'_, '_> {
    /// Moves to the next item; false at the end, which it moves over.
    fn more(&mut self) -> Result<bool, Stop> {
        self.reader.skip_blanks();
        let first = std::mem::replace(&mut self.first, false);
        match self.reader.peek() {
            Some(byte) if byte == self.close => {
                self.reader.position += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.reader.position += 1;
                self.reader.skip_blanks();
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => Err(Stop::Unusual),
        }
    }
}

impl<'de> SeqAccess<'de> for Flow<'_, 'de> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if !self.more()? {
            return Ok(None);
        }
        seed.deserialize(Inline { reader: self.reader, in_flow: true }).map(Some)
    }
}

impl<'de> MapAccess<'de> for Flow<'_, 'de> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        if !self.more()? {
            return Ok(None);
        }
        let key = self.reader.key()?;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        self.reader.skip_blanks();
        seed.deserialize(Inline { reader: self.reader, in_flow: true })
    }
}
