//! Types of routes, for TypeScript and JSON Schema.
//!
//! A [`Signature`] says what a route takes and answers with, as JSON Schemas (draft 2020-12): made
//! from Rust types that derive [`schemars::JsonSchema`], or from schemas that somebody wrote.
//! [`Signatures`] are written as a module of routes for alien-rpc's client, with declarations, or
//! as one JSON document.
//!
//! ```
//! use fulmar_types::{ModuleOptions, Pattern, Signature, Signatures};
//!
//! let mut signatures = Signatures::new();
//! signatures.add(
//!     Signature::new("add", Pattern::Request)
//!         .takes_list_of::<(i64, i64)>()
//!         .names(["a", "b"])
//!         .answers_with::<i64>(),
//! );
//! let module = signatures.typescript(&ModuleOptions::default());
//! assert!(module.declarations.contains(
//!     "add(a: number, b: number, options?: RequestOptions): Promise<number>;"
//! ));
//! ```
#![forbid(unsafe_code)]

mod convert;
mod document;
mod names;
mod shared;
mod signature;
mod typescript;

pub use schemars;
pub use serde_json;
pub use signature::{Param, Pattern, Signature, Signatures};
pub use typescript::{Module, ModuleOptions};
