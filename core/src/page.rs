//! Pages: small fixed answers to plain HTTP requests, such as a health check or a demo.

/// A fixed answer to `GET` (and `HEAD`) of one path.
#[derive(Clone, Debug)]
pub struct Page {
    pub(crate) path: Box<str>,
    pub(crate) content_type: Box<str>,
    pub(crate) body: Box<[u8]>,
}

impl Page {
    /// A page of `path`, which is compared as it is: no parameters, no decoding.
    pub fn new(path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content_type: content_type.into(),
            body: body.into().into_boxed_slice(),
        }
    }
}
