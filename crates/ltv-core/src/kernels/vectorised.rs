//! Loops compiled a second time for wider vector instructions.

/// Compiles a function a second time for the wider vector instructions of newer processors, and takes that one where
/// they exist. Both do the same operations in the same order, so the bits of the result do not depend on the processor.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident<T: $bound:ident>(
        $($argument:ident: $type:ty),* $(,)?
    ) $body:block) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name<T: $bound>($($argument: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn common<T: $bound>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn wide<T: $bound>($($argument: $type),*) {
                    common($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: AVX2 was detected on the line above.
                    return unsafe { wide($($argument),*) };
                }
            }
            common($($argument),*)
        }
    };
}
pub(crate) use vectorised;
