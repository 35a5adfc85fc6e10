//! Documents: the files of a state, read together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Errors, Model, StateError,
    raw::{self, Check, Path as Place},
    validate::{self, Source},
    yaml::{self, Stop},
};

/// One file of a state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Document {
    /// The file's name, as errors show it.
    pub name: String,
    /// Its content, YAML or JSON.
    pub text: String,
}

/// Reads files, and folders of `*.yaml`, `*.yml` and `*.json` files (sorted by name, not recursive).
///
/// # Errors
///
/// Every path that cannot be read, and every folder without such a file.
pub fn read_documents(paths: &[PathBuf]) -> Result<Vec<Document>, Errors> {
    let mut documents = Vec::new();
    let mut errors = Errors::default();
    for path in paths {
        match files(path) {
            Err(error) => errors.0.push(error),
            Ok(files) => {
                for file in files {
                    match fs::read_to_string(&file) {
                        Ok(text) => documents.push(Document { name: file.display().to_string(), text }),
                        Err(error) => errors.0.push(unreadable(&file, &error)),
                    }
                }
            }
        }
    }
    if errors.0.is_empty() { Ok(documents) } else { Err(errors) }
}

/// The path itself, or the state files in the folder it names.
fn files(path: &Path) -> Result<Vec<PathBuf>, StateError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(StateError {
            file: path.display().to_string(),
            path: String::new(),
            resource: String::new(),
            problem: "the folder has no state file".to_owned(),
            fix: "put *.yaml, *.yml or *.json files in it".to_owned(),
        });
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> StateError {
    StateError {
        file: path.display().to_string(),
        path: String::new(),
        resource: String::new(),
        problem: format!("cannot be read: {error}"),
        fix: "name a readable UTF-8 text file, or a folder of them".to_owned(),
    }
}

/// Parses and validates a state.
///
/// # Errors
///
/// Every mistake in all the documents at once, grouped by the kind of resource. Only a syntax error hides others: the
/// rest of its own document, and whatever depends on it.
pub fn load(documents: &[Document]) -> Result<Model, Errors> {
    let mut sources = Vec::with_capacity(documents.len());
    let mut errors = Errors::default();
    for document in documents {
        match parse(document) {
            Ok(state) => sources.push(Source { name: &document.name, state }),
            Err(error) => errors.0.push(error),
        }
    }
    let syntax_is_right = errors.0.is_empty();
    for Source { name, state } in &sources {
        state.check(Place::Root, "", &mut |path, resource, problem, fix| {
            let (file, path) = ((*name).to_owned(), path.to_string());
            errors.0.push(StateError { file, path, resource: resource.to_owned(), problem, fix });
        });
    }
    if syntax_is_right { validate::model(&sources, errors) } else { Err(errors) }
}

/// Reads one document: JSON if it begins with `{`, else YAML.
fn parse(document: &Document) -> Result<raw::State<'_>, StateError> {
    let text = document.text.strip_prefix('\u{feff}').unwrap_or(&document.text);
    let (line, column, problem, format) = if text.trim_ascii_start().starts_with('{') {
        match serde_json::from_str(text) {
            Ok(state) => return Ok(state),
            Err(error) => (error.line(), error.column(), error.to_string(), "JSON"),
        }
    } else {
        match yaml::from_str(text) {
            Ok(state) => return Ok(state),
            Err(Stop::Syntax { line, column, message }) => (line, column, message, "YAML"),
            Err(stop) => (0, 0, stop.to_string(), "YAML"),
        }
    };
    Err(StateError {
        file: document.name.clone(),
        path: format!("line {line} column {column}"),
        resource: String::new(),
        problem,
        fix: format!("write valid {format} there"),
    })
}
