//! `cargo xtask reference`: docs/reference, made of the catalog of a database with the extension and of a text for each
//! function, view and setting (docs/reference/texts).
//!
//! Types, defaults, result columns, comments and error messages come from the server; what they mean comes from the
//! texts. Whatever has no text is an error, and so is a text of something that is not there. The README has the names.

mod catalog;
mod pages;
mod texts;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::setup::Needs;
use crate::workspace::{Template, Workspace};
use crate::{files, server, shell};
use catalog::Catalog;
pub use pages::anchor;
use texts::Text;

const DIRECTORY: &str = "docs/reference";
/// Where the pages come from; no page itself.
pub const TEXTS: &str = "docs/reference/texts";

struct Page {
    path: PathBuf,
    content: String,
}

/// Write the pages.
pub fn write(project: &Project) -> Result<()> {
    Workspace::clean_up_on_signals(project)?;
    let install = server::prepare(project, Needs::default())?;
    let workspace = Workspace::begin(project, &install, false)?;
    for page in generate(&workspace)? {
        if fs::read_to_string(&page.path).ok().as_deref() != Some(page.content.as_str()) {
            fs::write(&page.path, &page.content)?;
            shell::say(format!("wrote {}", page.path.display()));
        }
    }
    Ok(())
}

/// `docs/reference`: the pages are those that would be written now.
pub fn check(workspace: &Workspace) -> Result<()> {
    let pages = generate(workspace)?;
    let mut wrong: Vec<String> = pages
        .iter()
        .filter_map(|page| {
            let present = fs::read_to_string(&page.path).unwrap_or_default();
            difference(&present, &page.content)
                .map(|difference| format!("{}: {difference}", page.path.display()))
        })
        .collect();
    for path in files::files(&workspace.project.root.join(DIRECTORY), "md") {
        if !pages.iter().any(|page| page.path == path) {
            wrong.push(format!("{}: of no text", path.display()));
        }
    }
    if !wrong.is_empty() {
        bail!("run `cargo xtask reference`\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// The first line that differs.
fn difference(present: &str, wanted: &str) -> Option<String> {
    if present == wanted {
        return None;
    }
    let lines = present.lines().map(Some).chain(std::iter::repeat(None));
    let wanted = wanted.lines().map(Some).chain(std::iter::repeat(None));
    let (number, (present, wanted)) = lines
        .zip(wanted)
        .enumerate()
        .find(|(_, (present, wanted))| present != wanted || present.is_none())?;
    Some(format!(
        "line {} is\n  {}\nand should be\n  {}",
        number + 1,
        present.unwrap_or("(the end)"),
        wanted.unwrap_or("(the end)")
    ))
}

fn generate(workspace: &Workspace) -> Result<Vec<Page>> {
    let root = &workspace.project.root;
    let texts: Vec<Text> = files::files(&root.join(TEXTS), "md")
        .iter()
        .map(|path| texts::read(path))
        .collect::<Result<_>>()?;
    let database = workspace.database("reference", Template::Demo)?;
    let mut client = workspace.cluster.connect(&database)?;
    let catalog = Catalog::read(&mut client)?;
    catalog.covered_by(&texts)?;
    let mut made = Vec::new();
    for text in &texts {
        let content = pages::page(text, &texts, &catalog, &mut client)
            .with_context(|| format!("{TEXTS}: page {}", text.page))?;
        made.push(Page {
            path: root.join(DIRECTORY).join(&text.page),
            content,
        });
    }
    let path = root.join("README.md");
    let present = fs::read_to_string(&path).context("no README.md")?;
    let content = pages::readme(&present, &texts)?;
    made.push(Page { path, content });
    drop(client);
    workspace.cluster.drop_database(&database)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_told() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let told = difference("a\nb\n", "a\nc\n").unwrap();
        assert!(told.starts_with("line 2 is\n  b"), "{told}");
        assert!(difference("a\n", "a\nb\n").unwrap().contains("(the end)"));
    }
}
