//! Between the encoding of the database, in which PostgreSQL has every text, and UTF-8, in which everything of ours is.
//!
//! Where the database is in UTF-8, texts are borrowed as they are. Elsewhere what is not ASCII is converted by PostgreSQL.
//! SQL_ASCII is no encoding: a text is any bytes. There bytes that are no UTF-8 become characters of a private range and
//! back, so that each text comes back as it was.

use pgrx::PgTryBuilder;
use pgrx::pg_sys::{self, pg_enc};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What can be wrong with a text on its way to PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("the character \"{0}\" does not exist in the encoding of this database")]
    NoEquivalent(char),
    #[error("the text contains a zero byte")]
    ZeroByte,
}

const UTF8: i32 = pg_enc::PG_UTF8 as i32;
const SQL_ASCII: i32 = pg_enc::PG_SQL_ASCII as i32;

/// The encoding of this process's database; not known yet: negative.
static ENCODING: AtomicI32 = AtomicI32::new(-1);

#[inline]
fn encoding() -> i32 {
    match ENCODING.load(Relaxed) {
        unknown if unknown < 0 => look_up(),
        known => known,
    }
}

#[cold]
fn look_up() -> i32 {
    // SAFETY: both read what is set when the process connects to its database.
    let (encoding, is_connected) = unsafe {
        (
            pg_sys::GetDatabaseEncoding(),
            pg_sys::MyDatabaseId != pg_sys::InvalidOid,
        )
    };
    if is_connected {
        ENCODING.store(encoding, Relaxed);
    }
    encoding
}

pub fn encoding_name() -> String {
    // SAFETY: the name of a constant of the server, in ASCII.
    let name = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
    ascii(name.to_bytes())
}

fn ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte & 0x7f)).collect()
}

/// A text of the database, in UTF-8: as it is, or put into `buffer`.
#[inline]
pub fn utf8<'a>(bytes: &'a [u8], buffer: &'a mut String) -> &'a str {
    if (encoding() == UTF8 || bytes.is_ascii())
        && let Ok(text) = str::from_utf8(bytes)
    {
        return text;
    }
    buffer.clear();
    convert(bytes, buffer);
    buffer
}

/// The same without a look at each character, where the database is in UTF-8.
#[inline]
pub fn utf8_bytes<'a>(bytes: &'a [u8], buffer: &'a mut String) -> &'a [u8] {
    match encoding() {
        UTF8 => bytes,
        _ => utf8(bytes, buffer).as_bytes(),
    }
}

/// A text of the database, in UTF-8.
pub fn from_server(bytes: &[u8]) -> Cow<'_, str> {
    if (encoding() == UTF8 || bytes.is_ascii())
        && let Ok(text) = str::from_utf8(bytes)
    {
        return text.into();
    }
    let mut buffer = String::with_capacity(bytes.len());
    convert(bytes, &mut buffer);
    buffer.into()
}

#[cold]
fn convert(bytes: &[u8], into: &mut String) {
    match encoding() {
        // PostgreSQL lets nothing else in, but a damaged page may hold it.
        UTF8 => into.push_str(&String::from_utf8_lossy(bytes)),
        SQL_ASCII => escape(bytes, into),
        // SAFETY: the result ends with a zero and lies in the current memory context, unless it is the source.
        _ => unsafe {
            let source = bytes.as_ptr().cast();
            let converted = pg_sys::pg_server_to_any(source, bytes.len() as i32, UTF8);
            if !std::ptr::eq(converted, source) {
                into.push_str(&String::from_utf8_lossy(
                    CStr::from_ptr(converted).to_bytes(),
                ));
                pg_sys::pfree(converted.cast());
            }
        },
    }
}

/// Bytes that are no UTF-8 stand for themselves as `PRIVATE` plus the byte. What already is such a character is taken for
/// three such bytes, so that nothing is lost.
const PRIVATE: u32 = 0xef00;

fn is_escape(character: char) -> bool {
    (PRIVATE + 0x80..=PRIVATE + 0xff).contains(&u32::from(character))
}

fn escape(bytes: &[u8], into: &mut String) {
    let byte = |byte: &u8| char::from_u32(PRIVATE + u32::from(*byte)).unwrap_or_default();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_escape(character) {
                let mut buffer = [0; 4];
                into.extend(
                    character
                        .encode_utf8(&mut buffer)
                        .as_bytes()
                        .iter()
                        .map(byte),
                );
            } else {
                into.push(character);
            }
        }
        into.extend(chunk.invalid().iter().map(byte));
    }
}

/// A text of ours in the encoding of the database.
pub fn to_server(text: &str) -> Result<Cow<'_, [u8]>, TextError> {
    encode(text, |character, into| match equivalent(character, into) {
        true => Ok(()),
        false => Err(TextError::NoEquivalent(character)),
    })
}

/// The same for what people read, with a question mark for each character that the encoding lacks.
fn to_server_readable(text: &str) -> Cow<'_, [u8]> {
    let encoded = encode(text, |character, into| {
        if !equivalent(character, into) {
            into.push(b'?');
        }
        Ok::<_, TextError>(())
    });
    encoded.unwrap_or(Cow::Borrowed(b"?"))
}

fn encode<E>(
    text: &str,
    mut other: impl FnMut(char, &mut Vec<u8>) -> Result<(), E>,
) -> Result<Cow<'_, [u8]>, E> {
    if encoding() == UTF8 || text.is_ascii() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            bytes.push(character as u8);
        } else {
            other(character, &mut bytes)?;
        }
    }
    Ok(bytes.into())
}

/// As many bytes as PostgreSQL may write for a character, and the zero behind them.
const LONGEST_EQUIVALENT: usize = 17;

/// Appends what a character that is not ASCII is in the encoding of the database; `false` if that lacks it.
fn equivalent(character: char, into: &mut Vec<u8>) -> bool {
    if encoding() == SQL_ASCII {
        if is_escape(character) {
            into.push((u32::from(character) - PRIVATE) as u8);
        } else {
            into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        return true;
    }
    let mut buffer = [0_u8; LONGEST_EQUIVALENT];
    let written = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the buffer has the room that the function asks for. It looks nothing up, so nothing is left half done
        // by its error, which says that there is no such character.
        unsafe { pg_sys::pg_unicode_to_server(character.into(), buffer.as_mut_ptr()) };
        true
    }))
    .catch_when(
        pgrx::PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
        |_| false,
    )
    .execute();
    if written {
        into.extend(buffer.iter().take_while(|&&byte| byte != 0));
    }
    written
}

/// A string of PostgreSQL's, in UTF-8.
///
/// # Safety
/// `text` ends with a zero.
pub unsafe fn from_pointer(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    from_server(unsafe { CStr::from_ptr(text) }.to_bytes()).into_owned()
}

/// The same; nothing for a null pointer.
///
/// # Safety
/// `text` is null or ends with a zero.
pub unsafe fn from_nullable(text: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!text.is_null()).then(|| unsafe { from_pointer(text) })
}

/// The name of a column or of another object.
pub fn name(name: &pg_sys::NameData) -> Cow<'_, str> {
    // SAFETY: names end with a zero.
    from_server(unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_bytes())
}

/// The name of a type as SQL writes it.
pub fn type_name(type_oid: pg_sys::Oid) -> String {
    // SAFETY: any OID will do; the result ends with a zero.
    unsafe { from_pointer(pg_sys::format_type_be(type_oid)) }
}

/// A string of ours for PostgreSQL.
pub fn to_c(text: &str) -> Result<CString, TextError> {
    CString::new(to_server(text)?).map_err(|_| TextError::ZeroByte)
}

/// A string of ours that PostgreSQL shows.
pub fn to_c_readable(text: &str) -> CString {
    let mut bytes = to_server_readable(text).into_owned();
    bytes.retain(|&byte| byte != 0);
    CString::new(bytes).unwrap_or_default()
}
