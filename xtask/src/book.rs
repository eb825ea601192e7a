//! `cargo xtask book`: the README and docs/ as a site, made by mdBook in target/book.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::{reference, shell};

const VERSION: &str = "0.5.4";
/// Folders with what pages show and lead to.
const FOLDERS: &[&str] = &["docs", "examples"];
/// The order of the pages.
pub const SUMMARY: &str = "book/SUMMARY.md";

/// The pages of the book, as paths below the root.
pub fn chapters(project: &Project) -> Result<Vec<String>> {
    let summary = fs::read_to_string(project.root.join(SUMMARY))?;
    let targets = summary
        .split("](")
        .skip(1)
        .filter_map(|part| part.split_once(')'));
    Ok(targets.map(|(target, _)| target.to_owned()).collect())
}

pub fn build(project: &Project) -> Result<()> {
    let mdbook = mdbook(project)?;
    let book = project.root.join("target/book");
    if book.exists() {
        fs::remove_dir_all(&book)?;
    }
    let source = book.join("src");
    fs::create_dir_all(&source)?;
    let config = project.root.join("book");
    fs::copy(config.join("book.toml"), book.join("book.toml"))?;
    copy(
        project,
        &config.join("SUMMARY.md"),
        &source.join("SUMMARY.md"),
    )?;
    for folder in FOLDERS {
        copy(project, &project.root.join(folder), &source.join(folder))?;
    }
    for chapter in chapters(project)? {
        copy(
            project,
            &project.root.join(&chapter),
            &source.join(&chapter),
        )?;
    }
    shell::capture(Command::new(mdbook).arg("build").arg(&book))?;
    shell::say(format!("open {}", book.join("book/index.html").display()));
    Ok(())
}

/// Pages are called index where they are called README, as their links will be.
fn copy(project: &Project, from: &Path, to: &Path) -> Result<()> {
    if from == project.root.join(reference::TEXTS) {
        return Ok(());
    }
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(project, &entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.extension().is_some_and(|extension| extension == "md") {
        let text = fs::read_to_string(from)?;
        let text = text
            .replace("(README.md", "(index.md")
            .replace("/README.md", "/index.md");
        let is_readme = to.file_name().is_some_and(|name| name == "README.md");
        let name = if is_readme {
            to.with_file_name("index.md")
        } else {
            to.to_owned()
        };
        fs::write(name, text)?;
    } else if from.exists() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// The program, compiled once.
fn mdbook(project: &Project) -> Result<PathBuf> {
    let place = project.home.join("mdbook");
    let program = place.join("bin/mdbook");
    if !program.is_file() {
        shell::step("Installing mdBook, which takes some minutes");
        shell::capture(
            Command::new("cargo")
                .args([
                    "install",
                    "mdbook",
                    "--locked",
                    "--version",
                    VERSION,
                    "--root",
                ])
                .arg(&place)
                .env_remove("CARGO_TARGET_DIR"),
        )?;
    }
    Ok(program)
}
