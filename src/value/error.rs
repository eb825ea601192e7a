//! What can be wrong with a text on its way to PostgreSQL.

use crate::error::Reportable;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    #[error("the character \"{0}\" does not exist in the encoding of this database")]
    NoEquivalent(char),
    #[error("the text contains a zero byte")]
    ZeroByte,
}

impl Reportable for ValueError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NoEquivalent(_) => PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
            Self::ZeroByte => PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::NoEquivalent(character) => Some(format!(
                "It is U+{:04X}, and the encoding is {}.",
                u32::from(*character),
                super::text::encoding_name()
            )),
            Self::ZeroByte => Some("PostgreSQL's texts hold none.".to_owned()),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoEquivalent(_) => Some(
                "Use a database whose encoding is UTF8, or names without the character.".to_owned(),
            ),
            Self::ZeroByte => None,
        }
    }
}
