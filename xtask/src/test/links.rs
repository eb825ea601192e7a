//! `rust/links`: every link of the README and docs/ leads to a file and a heading that are there, and the book has
//! every page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::docs;
use crate::book::{self, SUMMARY};
use crate::project::Project;
use crate::reference::anchor;

pub fn check(project: &Project) -> Result<()> {
    let root = &project.root.canonicalize()?;
    let pages = docs::all_pages(root);
    let mut wrong = Vec::new();
    let mut led_to = pages.clone();
    for page in &pages {
        let directory = page.parent().unwrap_or(root);
        for target in targets(&fs::read_to_string(page)?) {
            if let Some(problem) = problem(page, directory, &target) {
                let name = page.strip_prefix(root).unwrap_or(page).display();
                wrong.push(format!("{name}: {target}: {problem}"));
            } else if let Ok(path) = directory.join(file(&target)).canonicalize()
                && path.extension().is_some_and(|extension| extension == "md")
            {
                led_to.push(path);
            }
        }
    }
    let chapters = book::chapters(project)?;
    let in_book: BTreeSet<PathBuf> = chapters.iter().map(|page| root.join(page)).collect();
    for page in led_to.iter().filter(|page| !in_book.contains(*page)) {
        let name = page.strip_prefix(root).unwrap_or(page).display();
        wrong.push(format!("{SUMMARY}: has no {name}"));
    }
    for page in in_book.iter().filter(|page| !page.is_file()) {
        wrong.push(format!("{SUMMARY}: there is no {}", page.display()));
    }
    if !wrong.is_empty() {
        bail!("links that lead nowhere:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// A target without the heading.
fn file(target: &str) -> &str {
    target.split('#').next().unwrap_or_default()
}

fn problem(page: &Path, directory: &Path, target: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"]
        .iter()
        .any(|start| target.starts_with(start))
    {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        page.to_owned()
    } else {
        directory.join(file)
    };
    if !path.exists() {
        return Some("no such file".into());
    }
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    if heading.is_empty() || !is_page {
        return None;
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    (!headings(&text).contains(heading)).then(|| "no such heading".into())
}

/// The lines of a page that are not code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

fn targets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        // What stands in code is an example.
        let plain: String = line.split('`').step_by(2).collect();
        for part in plain.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

fn headings(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(page) {
        let text = line.trim_start_matches('#');
        if text.len() < line.len() && text.starts_with(' ') {
            let name = anchor(text.trim());
            let again = (1..).map(|number| format!("{name}-{number}"));
            let mut names = std::iter::once(name.clone()).chain(again);
            found.extend(names.find(|name| !found.contains(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_headings_of_a_page() {
        let page = "# The day's `ltv`\n[a](b.md#c) and ![p](p.svg)\n```\n[no](no.md)\n# no\n```\n`[no](no.md)`\n## Again\n## Again\n";
        assert_eq!(targets(page), ["b.md#c", "p.svg"]);
        let wanted = ["again", "again-1", "the-days-ltv"].map(String::from);
        assert_eq!(headings(page), BTreeSet::from(wanted));
    }
}
