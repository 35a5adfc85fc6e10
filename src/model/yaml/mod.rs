//! YAML 1.2 as a serde data format, with what a large state needs.
//!
//! The usual crates take 20 s and more for a state of a million ENIs (360 MB), their scanners alone 12 s. So there
//! are two readers. `plain` reads the form that programs write (block style, one line per scalar) at the speed of
//! memory, and gives up at anything else, at any doubt too. `events` reads all of YAML by way of granit-parser; it
//! takes over from the start where `plain` gave up, and finds every syntax error. Both must make the same of the
//! same text, which a property test below checks.
//!
//! Scalars keep their text: `007` and `1e3` stay as they are written, and only what JSON would print in the very
//! same characters becomes a number. Aliases (`*name`) are refused, which also refuses the bombs made of them.

mod events;
mod plain;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, de};

/// How deep collections may nest; a state nests six deep.
const DEPTH: usize = 64;

/// Why a reader stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text is not of the plain form.
    Unusual,
    /// The text is not YAML, or YAML which is refused.
    Syntax {
        /// Line, from 1; 0 when unknown.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusual => f.write_str("not plain YAML"),
            Self::Syntax { line, column, message } => write!(f, "line {line} column {column}: {message}"),
        }
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Syntax { line: 0, column: 0, message: message.to_string() }
    }
}

/// Reads a YAML stream of one document.
///
/// # Errors
///
/// [`Stop::Syntax`] where the text is not YAML.
pub(super) fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Stop> {
    match plain::from_str(text) {
        Err(Stop::Unusual) => events::from_str(text),
        read => read,
    }
}

/// Hands a scalar to the visitor: quoted as text, else by YAML's core schema as far as the text survives it.
fn visit_scalar<'de, V: de::Visitor<'de>>(
    text: Cow<'de, str>,
    quoted: bool,
    visitor: V,
) -> Result<V::Value, Stop> {
    if !quoted {
        match &*text {
            "" | "~" | "null" | "Null" | "NULL" => return visitor.visit_unit(),
            "true" | "True" | "TRUE" => return visitor.visit_bool(true),
            "false" | "False" | "FALSE" => return visitor.visit_bool(false),
            _ => {}
        }
        if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && text.len() <= 20 {
            if let Ok(number) = text.parse::<i64>()
                && is_canonical_integer(&text)
            {
                return visitor.visit_i64(number);
            }
            if text.contains('.')
                && let Ok(number) = text.parse::<f64>()
                && number.to_string() == *text
            {
                return visitor.visit_f64(number);
            }
        }
    }
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

/// Whether an integer prints as it is written: no leading zero, no `-0`.
fn is_canonical_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || !digits.starts_with('0')
}

/// The two readers on their own, for the property that they agree.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn scalars_keep_their_text() {
        let text =
            "a: 007\nb: 1e3\nc: -1\nd: 02:00:00:00:01:10\ne: 1.5\nf: \"1\"\ng: ~\nh: true\ni: '::/0'\n";
        let wanted = json!({"a": "007", "b": "1e3", "c": -1, "d": "02:00:00:00:01:10", "e": 1.5, "f": "1",
            "g": null, "h": true, "i": "::/0"});
        assert_eq!(plain::from_str::<Value>(text).unwrap(), wanted);
        assert_eq!(events::from_str::<Value>(text).unwrap(), wanted);
    }

    #[test]
    fn the_plain_reader_reads_what_programs_and_people_write() {
        let text = "# a state\n---\nVpcs:   # all\n- VpcId: a b # c\n  Set:\n  - {Key: v, List: [1, x/y], E: {}}\n\n  \
                    Tags: []\n-   VpcId: 'it''s'\n";
        assert_eq!(plain::from_str::<Value>(text), Err(Stop::Unusual), "a doubled quote");
        let text = text.replace("''", " ");
        let wanted = json!({"Vpcs": [
            {"VpcId": "a b", "Set": [{"Key": "v", "List": [1, "x/y"], "E": {}}], "Tags": []}, {"VpcId": "it s"}]});
        assert_eq!(plain::from_str::<Value>(&text).unwrap(), wanted);
        assert_eq!(events::from_str::<Value>(&text).unwrap(), wanted);
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_other_reader() {
        for text in [
            "a: b: c\n",
            "a: one\n  two\n",
            "a: |\n  text\n",
            "a: &x 1\nb: *x\n",
            "a: \"\\t\"\n",
            "a:\tb\n",
            "a: {b: c,\n d: e}\n",
            "? a\n: b\n",
            "a: 1\n b: 2\n",
            "a: 1\n---\nb: 2\n",
            "  a: 1\nb: 2\n",
            "- a\nb: 1\n",
            "a: [b: c]\n",
            "a: !x 1\n",
            "",
            "just text\n",
        ] {
            assert_eq!(plain::from_str::<Value>(text), Err(Stop::Unusual), "{text}");
        }
    }

    #[test]
    fn errors_have_a_line_and_aliases_are_refused() {
        let Err(Stop::Syntax { line, .. }) = from_str::<Value>("a: 1\nb: [\n") else { panic!() };
        assert!(line >= 2);
        for (text, word) in
            [("a: &x 1\nb: *x\n", "alias"), ("a: 1\n---\nb: 1\n", "one document"), ("a: !x 1\n", "tag")]
        {
            let Err(Stop::Syntax { message, .. }) = from_str::<Value>(text) else { panic!("{text}") };
            assert!(message.contains(word), "{message}");
        }
        let deep = "[".repeat(100_000);
        assert!(from_str::<Value>(&deep).is_err());
        let deep = "- ".repeat(10_000);
        assert!(from_str::<Value>(&deep).is_err());
    }

    /// Text made of the pieces at which YAML turns, so that a good part of it parses.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a", "Key", "b-c", "1", "-1", "0", "~", "null", "true", ":", ": ", ":\n", "- ", "-", "\n",
            "\n  ", "\n- ", "\n  - ", "\n    ", " ", "  ", "{", "}", "[", "]", ",", ", ", "'", "\"", "#",
            " # c", "---\n", "...\n", "&x ", "*x", "!t ", "|", ">", "? ", "%", "@", "`", "\t", "\r\n", "ü",
            "\u{85}", "\u{feff}", "\\", "/", ".", "a: ", "b: ", "k: v\n", "- k: v\n", "  k: v\n", "k:\n",
            "- \n", "::", "(", "+",
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    /// Lines as programs write them, mostly: keys, dashes and scalars at a few indentations.
    fn lines() -> impl Strategy<Value = String> {
        let indent = prop::sample::select(vec!["", "", "  ", "  ", "    ", " "]);
        let dash = prop::sample::select(vec!["", "", "", "- ", "- ", "-   ", "- - ", "-"]);
        let key = prop::sample::select(vec!["k: ", "k: ", "key:  ", "K-1.x:", "", "k:", "k :", "'k': "]);
        let value = prop::sample::select(vec![
            "",
            "",
            "v",
            "a b",
            "1",
            "-1",
            "007",
            "1.50",
            "~",
            "null",
            "True",
            "::/0",
            "a:b",
            "a#b",
            "'x # y'",
            "\"x: y\"",
            "[]",
            "{}",
            "[a, 1, 'b c']",
            "{a: b, c: [d, {e: }]}",
            "{a: b, c: d}",
            "[[x], {y: z}]",
            "{a: ::/0}",
            "a: b",
            "[a,]",
            "[, a]",
            "{a b: c}",
            "[a b , c]",
            "{a:b}",
            "{a: 'b'}",
            "a, b",
            "x]",
            "'it''s'",
            "02:00:00:00:01:10",
            "/x",
            ".",
            "...",
            "---",
            "-",
            "- x",
            "(x)",
            "ü",
            "+1",
            "x ",
            "x\ty",
            "[a #b\n]",
            "[a]b",
            "'a'b",
        ]);
        let end =
            prop::sample::select(vec!["\n", "\n", "\n", " # c\n", "  \n", "\n\n", "\n  # c\n", "#c\n", ""]);
        let line = (indent, dash, key, value, end).prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat());
        prop::collection::vec(line, 1..7).prop_map(|lines| lines.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_readers_agree(text in prop_oneof![pieces(), lines()]) {
            match plain::from_str::<Value>(&text) {
                Err(Stop::Unusual) => {}
                plain => prop_assert_eq!(plain, events::from_str::<Value>(&text)),
            }
        }
    }
}
