//! Reading and writing PostgreSQL's virtual files; since 17 they take vectors of buffers only.

use pgrx::pg_sys;

/// How many bytes were written; negative: none, see errno. Raises an error beyond temp_file_limit.
///
/// # Safety
/// On the main thread, with an open file.
pub unsafe fn write(file: pg_sys::File, bytes: &[u8], at: u64) -> i64 {
    let wait = pg_sys::WaitEventIO::WAIT_EVENT_BUFFILE_WRITE;
    let (start, length) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: a buffer of this length, which is only read from.
    let written = unsafe { pg_sys::FileWrite(file, start, length as _, at as _, wait) };
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    // SAFETY: the same.
    let written = unsafe { pg_sys::FileWriteV(file, &vector(start, length), 1, at as _, wait) };
    written as i64
}

/// How many bytes were read; negative: none, see errno.
///
/// # Safety
/// On the main thread, with an open file.
pub unsafe fn read(file: pg_sys::File, bytes: &mut [u8], at: u64) -> i64 {
    let wait = pg_sys::WaitEventIO::WAIT_EVENT_BUFFILE_READ;
    let (start, length) = (bytes.as_mut_ptr().cast(), bytes.len());
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: a buffer of this length.
    let read = unsafe { pg_sys::FileRead(file, start, length as _, at as _, wait) };
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    // SAFETY: the same.
    let read = unsafe { pg_sys::FileReadV(file, &vector(start, length), 1, at as _, wait) };
    read as i64
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
fn vector(start: *mut std::ffi::c_void, length: usize) -> pg_sys::iovec {
    pg_sys::iovec {
        iov_base: start,
        iov_len: length,
    }
}
