//! A text of docs/reference/texts: `# Title`, then `## NAME` for each function, view or setting, with the parts
//! `### Arguments`, `### Result`, `### Errors`, `### Example` and `### See also`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

#[derive(Debug, PartialEq)]
pub struct Text {
    /// File name of the page: `10_features.md` makes `features.md`.
    pub page: String,
    pub title: String,
    pub introduction: String,
    pub sections: Vec<Section>,
}

#[derive(Debug, PartialEq)]
pub struct Section {
    pub name: String,
    pub description: String,
    parts: Vec<(String, String)>,
}

/// `- `name`: what it is`, or with a statement in place of the name.
#[derive(Debug, PartialEq)]
pub struct Item {
    pub name: String,
    pub meaning: String,
}

impl Section {
    pub fn part(&self, name: &str) -> &str {
        self.parts
            .iter()
            .find(|(part, _)| part == name)
            .map_or("", |(_, body)| body.as_str())
    }

    /// The list of a part; continuation lines are indented.
    pub fn items(&self, part: &str) -> Result<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        for line in self.part(part).lines() {
            if let Some(rest) = line.strip_prefix("- `") {
                let (name, meaning) = rest
                    .split_once("`: ")
                    .with_context(|| format!("{}: no \"`: \" in {line}", self.name))?;
                items.push(Item {
                    name: name.to_owned(),
                    meaning: meaning.trim().to_owned(),
                });
            } else if let (Some(last), true) = (items.last_mut(), line.starts_with("  ")) {
                last.meaning.push(' ');
                last.meaning.push_str(line.trim());
            }
        }
        Ok(items)
    }

    /// What stands in a part beside its list.
    pub fn prose(&self, part: &str) -> String {
        let lines: Vec<&str> = self
            .part(part)
            .lines()
            .filter(|line| !line.starts_with("- `") && !line.starts_with("  "))
            .collect();
        lines.join("\n").trim().to_owned()
    }
}

pub fn read(path: &Path) -> Result<Text> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (_, page) = name
        .split_once('_')
        .with_context(|| format!("{name} is not called NN_page.md"))?;
    parse(page, &fs::read_to_string(path)?).with_context(|| path.display().to_string())
}

fn parse(page: &str, text: &str) -> Result<Text> {
    let mut parsed = Text {
        page: page.to_owned(),
        title: String::new(),
        introduction: String::new(),
        sections: Vec::new(),
    };
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        let heading = |mark: &str| line.strip_prefix(mark).filter(|_| !in_block);
        if let Some(title) = heading("# ") {
            title.clone_into(&mut parsed.title);
        } else if let Some(name) = heading("## ") {
            parsed.sections.push(Section {
                name: name.to_owned(),
                description: String::new(),
                parts: Vec::new(),
            });
        } else if let (Some(part), Some(section)) = (heading("### "), parsed.sections.last_mut()) {
            section.parts.push((part.to_owned(), String::new()));
        } else {
            let body = match parsed.sections.last_mut() {
                None => &mut parsed.introduction,
                Some(section) => match section.parts.last_mut() {
                    None => &mut section.description,
                    Some((_, body)) => body,
                },
            };
            body.push_str(line);
            body.push('\n');
        }
    }
    if parsed.title.is_empty() {
        bail!("it has no title");
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_parts_and_items() -> Result<()> {
        let text = parse(
            "a.md",
            "# Title\nIntroduction.\n## f\nDoes it.\n### Arguments\n- `x`: one\n  thing\n- `y`: another\n\
             ### Result\nA number.\n### Example\n```sql\nSELECT '\n## no heading';\n```\n## g\nToo.\n",
        )?;
        assert_eq!(text.introduction, "Introduction.\n");
        assert_eq!(text.sections.len(), 2);
        let f = &text.sections[0];
        let item = |name: &str, meaning: &str| Item {
            name: name.into(),
            meaning: meaning.into(),
        };
        assert_eq!(
            f.items("Arguments")?,
            [item("x", "one thing"), item("y", "another")]
        );
        assert_eq!(f.prose("Result"), "A number.");
        assert!(f.part("Example").contains("## no heading"));
        assert_eq!(f.part("Errors"), "");
        Ok(())
    }
}
