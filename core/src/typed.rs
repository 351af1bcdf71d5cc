//! Signatures of routes, from the types of their handlers.
//!
//! Handlers need nothing for it but types that derive [`JsonSchema`]: what clients send is found in
//! [`Args`], [`Arg`] and [`Event`], what they get in what the handler returns.
use std::borrow::Cow;
use std::future::Future;

use fulmar_dialect::{Cancelled, Identity, Verdict};
use fulmar_types::schemars::{JsonSchema, Schema, SchemaGenerator};
use fulmar_types::{Pattern, Signature, Signatures};
use serde::Serialize;

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::handler::{
    Arg, Args, Bare, Context, Decided, Defer, Event, Fallible, Later, Local, Message, Path, Placed,
    Plain, Query, Roomed, State, Stream, Streamed, Subscription, Unknown, With, Wrapped,
};
use crate::hub::Hub;
use crate::timer::Timer;

/// An argument of a handler whose type clients can be told. The default is for those that clients
/// do not send; embedders write it for what they implement [`FromCall`](crate::handler::FromCall)
/// for:
///
/// ```
/// use fulmar::typed::TypedArgument;
///
/// struct Tenant(String);
///
/// impl TypedArgument for Tenant {}
/// ```
#[diagnostic::on_unimplemented(
    message = "what clients send for `{Self}` is not known",
    note = "`Args`, `Arg` and `Event` want types that derive `JsonSchema`",
    note = "where clients send nothing for it: `impl TypedArgument for {Self} {{}}`",
    note = "a route without types is added with `route`"
)]
pub trait TypedArgument {
    /// Adds what clients send for it.
    #[must_use]
    fn describe(signature: Signature) -> Signature {
        signature
    }
}

impl<T: JsonSchema> TypedArgument for Args<T> {
    fn describe(signature: Signature) -> Signature {
        signature.takes_list_of::<T>()
    }
}

impl<T: JsonSchema> TypedArgument for Arg<T> {
    fn describe(signature: Signature) -> Signature {
        signature.takes::<T>()
    }
}

impl<T: JsonSchema> TypedArgument for Event<T> {
    fn describe(signature: Signature) -> Signature {
        signature.takes::<T>()
    }
}

impl<S> TypedArgument for State<S> {}
impl<T> TypedArgument for Local<T> {}
impl<T> TypedArgument for Path<T> {}
impl<T> TypedArgument for Query<T> {}
impl<T> TypedArgument for Context<T> {}
impl TypedArgument for Cancelled {}
impl TypedArgument for Connection {}
impl TypedArgument for Defer {}
impl TypedArgument for Hub {}
impl TypedArgument for Message {}
impl TypedArgument for Timer {}

/// What a handler returns, if clients can be told its type: nothing makes a notification, a
/// [`Stream`] or a [`Subscription`] a subscription, anything else a request. `K` is found by the
/// compiler.
#[diagnostic::on_unimplemented(
    message = "what clients get of `{Self}` is not known",
    note = "return a type that derives `JsonSchema` and `Serialize`, a `Result` of one, a `Stream`",
    note = "or a `Subscription`, or a future of these",
    note = "a route without types is added with `route`"
)]
pub trait TypedResult<K> {
    /// Adds what clients get, and sets the pattern.
    #[must_use]
    fn describe(signature: Signature) -> Signature;
}

impl<T: Serialize + JsonSchema> TypedResult<Plain> for T {
    fn describe(signature: Signature) -> Signature {
        let signature = signature.answers_with::<T>();
        let is_unit =
            signature.result == Signature::new("", Pattern::Request).answers_with::<()>().result;
        if is_unit {
            return Signature { pattern: Pattern::Notification, result: None, ..signature };
        }
        Signature { pattern: Pattern::Request, ..signature }
    }
}

impl<K, T: TypedResult<K>, E> TypedResult<Fallible<K>> for Result<T, E> {
    fn describe(signature: Signature) -> Signature {
        T::describe(signature)
    }
}

impl<K, F: Future<Output: TypedResult<K>>> TypedResult<Later<K>> for F {
    fn describe(signature: Signature) -> Signature {
        F::Output::describe(signature)
    }
}

impl<T: JsonSchema> TypedResult<Streamed> for Stream<T> {
    fn describe(signature: Signature) -> Signature {
        Signature { pattern: Pattern::Subscription, ..signature.answers_with::<T>() }
    }
}

impl<T: JsonSchema> TypedResult<Roomed> for Subscription<T> {
    fn describe(signature: Signature) -> Signature {
        Signature { pattern: Pattern::Subscription, ..signature.answers_with::<T>() }
    }
}

impl JsonSchema for Unknown {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unknown".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

impl TypedResult<Decided> for Verdict {
    fn describe(signature: Signature) -> Signature {
        signature
    }
}

impl TypedResult<Decided> for Identity {
    fn describe(signature: Signature) -> Signature {
        signature
    }
}

impl TypedResult<Decided> for Option<Identity> {
    fn describe(signature: Signature) -> Signature {
        signature
    }
}

/// A function whose arguments and result all have types that clients can be told. `M` is found by
/// the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler whose types are known",
    note = "its arguments all have to implement `TypedArgument`, its result `TypedResult`",
    note = "a route without types is added with `route`"
)]
pub trait TypedHandler<M> {
    /// Adds what clients send and get.
    #[must_use]
    fn describe(signature: Signature) -> Signature;
}

macro_rules! handlers {
    ($(($($argument:ident),*)),* $(,)?) => { $(
        impl<F, R, K, $($argument: TypedArgument),*> TypedHandler<(K, $($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R,
            R: TypedResult<K>,
        {
            fn describe(signature: Signature) -> Signature {
                $(let signature = $argument::describe(signature);)*
                R::describe(signature)
            }
        }
    )* };
}

handlers! {
    (), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, F1),
    (A, B, C, D, E, F1, G),
}

/// A [`TypedHandler`], with or without a placement. `M` is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler whose types are known",
    note = "its arguments all have to implement `TypedArgument`, its result `TypedResult`",
    note = "a route without types is added with `route`"
)]
pub trait TypedPlaced<M> {
    /// Adds what clients send and get.
    #[must_use]
    fn describe(signature: Signature) -> Signature;
}

impl<M, H: TypedHandler<M>> TypedPlaced<Bare<M>> for H {
    fn describe(signature: Signature) -> Signature {
        H::describe(signature)
    }
}

impl<M, ML, H: TypedHandler<M>, L> TypedPlaced<Wrapped<M, ML>> for With<H, L> {
    fn describe(signature: Signature) -> Signature {
        H::describe(signature)
    }
}

/// Routes whose types are known.
impl<S: Send + Sync + 'static> Endpoint<S> {
    /// A [`route`](Self::route) whose types clients can be told: those of the function's arguments
    /// and result. Without a result it is a notification, with a [`Stream`] or [`Subscription`] a
    /// subscription, else a request. All of them can be called in any way; it is what clients are
    /// told.
    ///
    /// ```
    /// use fulmar::{Args, Endpoint, text::Text};
    ///
    /// fn add(Args((a, b)): Args<(f64, f64)>) -> f64 {
    ///     a + b
    /// }
    ///
    /// let endpoint: Endpoint<()> = Endpoint::new("/sums")
    ///     .speaks(Text::default())
    ///     .typed_route("add", add)
    ///     .parameters("add", ["a", "b"]);
    /// let module = endpoint.signatures().typescript(&Default::default());
    /// assert!(module.declarations.contains("add(a: number, b: number, "));
    /// ```
    #[must_use]
    pub fn typed_route<M, H: Placed<M, S> + TypedPlaced<M>>(
        mut self,
        name: &str,
        handler: H,
    ) -> Self {
        self.signatures.add(H::describe(Signature::new(name, Pattern::Request)));
        self.route(name, handler)
    }

    /// Names the arguments of a typed route, in their order.
    ///
    /// # Panics
    ///
    /// Where no typed route has this name.
    #[must_use]
    pub fn parameters<const N: usize>(self, route: &str, names: [&str; N]) -> Self {
        self.signed(route, |signature| signature.names(names))
    }

    /// What a typed route is for; becomes a comment.
    ///
    /// # Panics
    ///
    /// Where no typed route has this name.
    #[must_use]
    pub fn described(self, route: &str, description: &str) -> Self {
        let description = Some(description.to_owned());
        self.signed(route, |signature| Signature { description, ..signature })
    }

    /// How clients call a typed route, where that does not follow from what it returns: a request
    /// that is answered when something has been done, with nothing, say.
    ///
    /// # Panics
    ///
    /// Where no typed route has this name.
    #[must_use]
    pub fn pattern(self, route: &str, pattern: Pattern) -> Self {
        self.signed(route, |signature| Signature { pattern, ..signature })
    }

    /// The signatures of all typed routes.
    #[must_use]
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    fn signed(mut self, route: &str, change: impl FnOnce(Signature) -> Signature) -> Self {
        let changed = self.signatures.change(route, change);
        assert!(changed.is_some(), "there is no typed route `{route}`");
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fulmar_dialect::CallError;
    use fulmar_types::serde_json::{Value, json};

    use super::*;
    use crate::handler::{CallParts, FromCall, Numbered, concurrent, inline, ordered, worker};

    #[derive(Default)]
    struct World;

    struct Tenant;

    impl FromCall<World> for Tenant {
        fn from_call(_: &mut CallParts<'_, '_, World>) -> Result<Self, CallError> {
            Ok(Self)
        }
    }

    impl TypedArgument for Tenant {}

    fn signature<M, H: Placed<M, World> + TypedPlaced<M>>(handler: H) -> Signature {
        let endpoint = Endpoint::new("/").typed_route("it", handler);
        endpoint.signatures().get("it").unwrap().clone()
    }

    fn params(signature: &Signature) -> Vec<Value> {
        signature.params.iter().map(|param| param.schema["type"].clone()).collect()
    }

    #[test]
    fn one_value_is_a_request_nothing_a_notification_many_are_a_subscription() {
        let request = signature(|Args((a, b)): Args<(bool, String)>| format!("{a}{b}"));
        assert_eq!(request.pattern, Pattern::Request);
        assert_eq!(params(&request), [json!("boolean"), json!("string")]);
        assert_eq!(request.result, Some(json!({"type": "string"})));

        let notification = signature(|Arg(_): Arg<String>| ());
        assert_eq!(notification.pattern, Pattern::Notification);
        assert_eq!(params(&notification), [json!("string")]);
        assert_eq!(notification.result, None);

        let subscription = signature(|| Stream::iter(vec![true]));
        assert_eq!(subscription.pattern, Pattern::Subscription);
        assert_eq!(subscription.result, Some(json!({"type": "boolean"})));

        let room = signature(|| Subscription::new("a"));
        assert_eq!((room.pattern, room.result), (Pattern::Subscription, Some(json!(true))));
    }

    #[test]
    fn results_and_futures_are_what_comes_of_them() {
        async fn later(Args(_): Args<Vec<bool>>) -> Result<Stream<String>, CallError> {
            Ok(Stream::iter(Vec::new()))
        }
        async fn done() -> Result<(), CallError> {
            Ok(())
        }
        fn maybe() -> Result<Option<bool>, CallError> {
            Ok(None)
        }
        let later = signature(later);
        assert_eq!(later.pattern, Pattern::Subscription);
        assert_eq!(later.result, Some(json!({"type": "string"})));
        assert_eq!(later.rest.unwrap().schema, json!({"type": "boolean"}));
        assert_eq!(signature(done).pattern, Pattern::Notification);
        assert_eq!(signature(maybe).result, Some(json!({"type": ["boolean", "null"]})));
    }

    #[test]
    fn what_clients_do_not_send_is_no_argument() {
        fn all(
            _: State<World>,
            _: Connection,
            _: Tenant,
            _: Hub,
            _: Cancelled,
            _: Local<u8>,
            Args((_,)): Args<(bool,)>,
        ) -> bool {
            true
        }
        assert_eq!(params(&signature(all)), [json!("boolean")]);
        assert!(signature(|_: Path<String>, _: Query<String>| true).params.is_empty());
    }

    #[test]
    fn placements_and_guards_do_not_matter() {
        fn add(Args((a, b)): Args<(i32, i32)>) -> i32 {
            a + b
        }
        let bare = signature(add);
        assert_eq!(signature(inline(add)), bare);
        assert_eq!(signature(concurrent(add)), bare);
        assert_eq!(signature(ordered(add)), bare);
        let guard = |_: Tenant| Ok::<_, CallError>(());
        assert_eq!(signature(worker(add).guard(guard).timeout(Duration::from_secs(1))), bare);
    }

    #[test]
    fn signatures_can_be_told_more() {
        let endpoint: Endpoint<World> = Endpoint::new("/")
            .typed_route("reset", |Args((_, _)): Args<(bool, bool)>| ())
            .parameters("reset", ["hard", "again"])
            .described("reset", "Starts anew.")
            .pattern("reset", Pattern::Request)
            .typed_route("watch", || -> Subscription<Numbered<bool>> {
                Subscription::new("a").numbered().typed()
            });
        let declarations = endpoint.signatures().typescript(&Default::default()).declarations;
        for line in [
            "  /** Starts anew. */\n",
            "  reset(hard: boolean, again: boolean, options?: RequestOptions): Promise<void>;\n",
            "  watch(options?: RequestOptions): Subscription<Numbered>;\n",
            "  data: boolean;\n",
        ] {
            assert!(declarations.contains(line), "{declarations}");
        }
    }

    #[test]
    #[should_panic(expected = "there is no typed route `b`")]
    fn more_cannot_be_told_of_what_is_not_there() {
        let _ = Endpoint::<World>::new("/").typed_route("a", || true).parameters("b", ["x"]);
    }
}
