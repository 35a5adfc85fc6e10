//! What programs that are compiled already depend on: what the header says of structs, constants and functions, and which functions the
//! library exports in which version.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
};

use super::{gcc, run};

/// A member of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As in C.
    declaration: String,
    /// In bytes.
    at: usize,
    bytes: usize,
}

/// A struct, and its members by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    bytes: usize,
    members: BTreeMap<String, Member>,
}

/// An interface.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interface {
    structs: BTreeMap<String, Layout>,
    constants: BTreeMap<String, i64>,
    /// Their declarations.
    functions: BTreeMap<String, String>,
    /// The SONAME, and `warren_open@@WARREN_0.1`.
    pub(crate) symbols: BTreeSet<String>,
}

impl Interface {
    /// Of a folder's `warren.h`, and a library.
    pub(crate) fn read(folder: &Path, symbols: BTreeSet<String>) -> Self {
        let header = fs::read_to_string(folder.join("warren.h")).unwrap();
        let mut read = declared(&header);
        read.symbols = symbols;
        read.measure(folder);
        read
    }

    /// Asks the compiler for what it alone knows.
    fn measure(&mut self, folder: &Path) {
        let mut source = "#include <stdio.h>\n#include <warren.h>\nint main(void)\n{\n".to_owned();
        for (name, layout) in &self.structs {
            let _ = writeln!(source, "printf(\"%zu\\n\", sizeof(struct {name}));");
            for member in layout.members.keys() {
                let _ = writeln!(source, "printf(\"%zu\\n\", offsetof(struct {name}, {member}));");
                let _ = writeln!(source, "printf(\"%zu\\n\", sizeof(((struct {name} *)0)->{member}));");
            }
        }
        for name in self.constants.keys() {
            let _ = writeln!(source, "printf(\"%lld\\n\", (long long){name});");
        }
        source += "return 0;\n}\n";
        let built = tempfile::tempdir().unwrap();
        let (file, program) = (built.path().join("layout.c"), built.path().join("layout"));
        fs::write(&file, source).unwrap();
        run(gcc(folder, &program).arg(&file));
        let said = String::from_utf8(run(&mut Command::new(program)).stdout).unwrap();
        let mut numbers = said.lines().map(|line| line.parse::<i64>().unwrap());
        let mut next = || numbers.next().unwrap();
        for layout in self.structs.values_mut() {
            layout.bytes = next() as usize;
            for member in layout.members.values_mut() {
                (member.at, member.bytes) = (next() as usize, next() as usize);
            }
        }
        self.constants.values_mut().for_each(|value| *value = next());
    }

    /// What a program of this version misses in a newer one.
    pub(crate) fn broken_by(&self, newer: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, old) in &self.structs {
            match newer.structs.get(name) {
                Some(new) => old.broken_by(new, name, &mut broken),
                None => broken.push(format!("struct {name} is gone")),
            }
        }
        for (name, old) in &self.constants {
            let new = newer.constants.get(name);
            if new != Some(old) {
                broken.push(format!("{name} was {old}, is {new:?}"));
            }
        }
        for (name, old) in &self.functions {
            let new = newer.functions.get(name);
            if new != Some(old) {
                broken.push(format!("{name}() was `{old}`, is {new:?}"));
            }
        }
        // What was the default may have become an old version beside a new default.
        let kept = |old: &String| newer.symbols.contains(&old.replace("@@", "@"));
        let gone = self.symbols.difference(&newer.symbols).filter(|old| !kept(old));
        broken.extend(gone.map(|old| format!("libwarren.so lacks {old}")));
        broken
    }

    /// Nothing is in the one that is not in the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.broken_by(other).is_empty() && other.broken_by(self).is_empty() && self.symbols == other.symbols
    }
}

impl Layout {
    /// A struct that says its `size` may grow, at its end only: what lies between members, an older program has never written.
    fn broken_by(&self, newer: &Self, name: &str, broken: &mut Vec<String>) {
        for (member, old) in &self.members {
            let new = newer.members.get(member);
            if new != Some(old) {
                broken.push(format!("{name}.{member} was {old:?}, is {new:?}"));
            }
        }
        for (member, new) in newer.members.iter().filter(|(member, _)| !self.members.contains_key(*member)) {
            if new.at < self.bytes {
                broken.push(format!("{name}.{member} is new, but not behind what there was"));
            }
        }
        let grows = self.members.get("size").is_some_and(|size| size.at == 0);
        if newer.bytes < self.bytes || (newer.bytes > self.bytes && !grows) {
            broken.push(format!("struct {name} had {} bytes, has {}", self.bytes, newer.bytes));
        }
    }
}

/// What a header made by cbindgen declares, with the compiler's part left out.
fn declared(header: &str) -> Interface {
    let mut interface = Interface::default();
    let mut text = String::new();
    let mut for_c_plus_plus = false;
    for line in header.lines().map(str::trim) {
        if let Some(constant) = line.strip_prefix("#define WARREN_") {
            let name = constant.split_once(' ').map(|(name, _)| format!("WARREN_{name}"));
            interface.constants.extend(name.map(|name| (name, 0)));
        }
        for_c_plus_plus =
            (for_c_plus_plus || line.starts_with("#ifdef __cplusplus")) && !line.starts_with("#endif");
        if !for_c_plus_plus && !["#", "//", "/*", "*"].iter().any(|no| line.starts_with(no)) {
            text.extend([line, " "]);
        }
    }
    // It says which version it is of.
    interface.constants.remove("WARREN_VERSION");
    while let Some((head, rest)) = text.split_once([';', '{']) {
        let (head, rest) = (words(head), rest.to_owned());
        if text.as_bytes()[text.len() - rest.len() - 1] == b'{' {
            let (body, rest) = rest.split_once("};").expect("the end of a struct");
            let members = body.split(';').map(words).filter(|member| !member.is_empty()).map(member);
            let layout = Layout { bytes: 0, members: members.collect() };
            interface.structs.insert(head.strip_prefix("struct ").unwrap().to_owned(), layout);
            text = rest.to_owned();
        } else {
            if let Some((before, _)) = head.split_once('(') {
                let name = before.rsplit([' ', '*']).next().unwrap().to_owned();
                interface.functions.insert(name, head);
            }
            text = rest;
        }
    }
    interface
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `type name`, `type *name`, `type name[COUNT]`, `type (*name)(…)`.
fn member(declaration: String) -> (String, Member) {
    let pointer = declaration.split_once("(*").and_then(|(_, rest)| rest.split(')').next());
    let plain = || declaration.split('[').next().and_then(|it| it.rsplit([' ', '*']).next());
    let name = pointer.or_else(plain).unwrap().to_owned();
    (name, Member { declaration, at: 0, bytes: 0 })
}
