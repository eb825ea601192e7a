//! `rust/english`: sentences of the README and docs/ that have to be read twice, because they are too long.

use std::fs;

use anyhow::{Result, bail};

use super::docs;
use crate::project::Project;

/// A sentence has so many words at most.
const WORDS: usize = 30;
/// Of all pages together: definitions and lists that no full stop would make clearer.
const EXCEPTIONS: usize = 8;

pub fn check(project: &Project) -> Result<()> {
    let mut long = Vec::new();
    let mut all = 0;
    for page in docs::all_pages(&project.root) {
        let name = page.strip_prefix(&project.root).unwrap_or(&page).display();
        for sentence in sentences(&fs::read_to_string(&page)?) {
            all += 1;
            let words = words(&sentence);
            if words > WORDS {
                long.push((words, format!("{name}: {words} words: {sentence}")));
            }
        }
    }
    long.sort_by_key(|(words, _)| std::cmp::Reverse(*words));
    if long.len() > EXCEPTIONS {
        let told: Vec<String> = long.iter().map(|(_, told)| told.clone()).collect();
        bail!(
            "{} of {all} sentences have more than {WORDS} words, {EXCEPTIONS} may; split some:\n{}",
            long.len(),
            told.join("\n")
        );
    }
    Ok(())
}

/// Of paragraphs and lists. Code, tables, comments and formulas are no prose; code in a line counts as one word.
fn sentences(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut paragraph = String::new();
    let mut in_block = false;
    for line in page.lines().chain([""]) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            end(&mut paragraph, &mut found);
        } else if in_block
            || line.starts_with("    ")
            || line.starts_with(['|', '<', '#'])
            || line.trim().is_empty()
        {
            end(&mut paragraph, &mut found);
        } else {
            if is_item(line.trim_start()) {
                end(&mut paragraph, &mut found);
            }
            paragraph.push_str(line.trim());
            paragraph.push(' ');
        }
    }
    found
}

/// The first line of an item of a list.
fn is_item(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || (number.len() < line.len() && number.starts_with(". "))
}

fn end(paragraph: &mut String, found: &mut Vec<String>) {
    let plain = without_targets(&without_code(paragraph));
    paragraph.clear();
    let mut sentence = String::new();
    for word in plain.split_whitespace() {
        sentence.push_str(word);
        sentence.push(' ');
        if word
            .trim_end_matches([')', '*', '"'])
            .ends_with(['.', '!', '?'])
        {
            found.push(std::mem::take(&mut sentence));
        }
    }
    if !sentence.is_empty() {
        found.push(sentence);
    }
}

fn without_code(text: &str) -> String {
    let mut plain = String::new();
    for (place, part) in text.split('`').enumerate() {
        plain.push_str(if place % 2 == 0 { part } else { "code" });
    }
    plain
}

/// `[words](target)` without the target.
fn without_targets(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push(']');
        plain.push_str(part.split_once(')').map_or("", |(_, after)| after));
    }
    plain
}

fn words(sentence: &str) -> usize {
    let words = sentence.split_whitespace();
    words
        .filter(|word| word.contains(char::is_alphanumeric))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_tables_and_targets_are_no_prose() {
        let page = "# Title\n\nOne [two](a.md) `three four`, which\nis it. Another one!\n\n| a. | b. |\n\n\
                    ```sql\nSELECT 1.\n```\n- item (with this.)\n- other\n";
        assert_eq!(
            sentences(page),
            [
                "One [two] code, which is it. ",
                "Another one! ",
                "- item (with this.) ",
                "- other "
            ]
        );
        assert_eq!(words("- item (with this.) "), 3);
    }
}
