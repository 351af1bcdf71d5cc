//! Tables of handlers: an endpoint's routes and an object's methods are the same thing.
use std::{collections::HashMap, fmt, sync::Arc};

use ahash::RandomState;
use fulmar_dialect::{Call, CallError, Object, Outcome, Payload, Placement, Target, Value};

use super::{CallParts, Guard, Placed, Route};

/// A table of handlers over a state.
pub struct Methods<S> {
    routes: Vec<Route<S>>,
    /// Where in them each is.
    methods: HashMap<Box<str>, u32, RandomState>,
    getters: HashMap<Box<str>, Route<S>, RandomState>,
    hidden: Vec<Box<str>>,
    fallback: Option<u32>,
    guards: Vec<Check<S>>,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

/// A guard without its type.
type Check<S> = Box<dyn Fn(&mut CallParts<'_, '_, S>) -> Result<(), CallError> + Send + Sync>;

impl<S> Default for Methods<S> {
    fn default() -> Self {
        // Names come from the embedder, never from a client: nobody can make them collide.
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self {
            routes: Vec::new(),
            methods: HashMap::with_hasher(hasher.clone()),
            getters: HashMap::with_hasher(hasher),
            hidden: Vec::new(),
            fallback: None,
            guards: Vec::new(),
            #[cfg(feature = "tokio")]
            runtime: None,
        }
    }
}

impl<S> Methods<S> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method; one of the same name is replaced.
    #[must_use]
    pub fn method<M>(mut self, name: &str, handler: impl Placed<M, S>) -> Self {
        let known = self.add(handler.place());
        self.methods.insert(name.into(), known);
        self
    }

    /// Adds a property that is computed when it is read, for protocols that read properties.
    #[must_use]
    pub fn getter<M>(mut self, name: &str, handler: impl Placed<M, S>) -> Self {
        self.getters.insert(name.into(), handler.place());
        self
    }

    /// A name whose reading is refused with JavaScript's words for a private field.
    #[must_use]
    pub fn hide(mut self, name: &str) -> Self {
        self.hidden.push(name.into());
        self
    }

    /// Answers calls of methods that are not there.
    #[must_use]
    pub fn fallback<M>(mut self, handler: impl Placed<M, S>) -> Self {
        self.fallback = Some(self.add(handler.place()));
        self
    }

    fn add(&mut self, route: Route<S>) -> u32 {
        self.routes.push(route);
        u32::try_from(self.routes.len() - 1).expect("fewer than four billion routes fit in memory")
    }

    /// Has calls of every method pass this guard, before those of the method itself.
    #[must_use]
    pub fn guard<M>(mut self, guard: impl Guard<M, S>) -> Self {
        self.guards.push(Box::new(move |parts| guard.check(parts)));
        self
    }

    /// Runs what async methods leave to be done, and what streams produce, on this runtime.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn runtime(mut self, runtime: &tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime.clone());
        self
    }

    /// The entry that answers a call of this method.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&Route<S>> {
        self.known(name).and_then(|known| self.routes.get(known as usize))
    }

    fn known(&self, name: &str) -> Option<u32> {
        self.methods.get(name).copied().or(self.fallback)
    }

    /// Names of all methods, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.methods.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }
}

impl<S: Send + Sync + 'static> Methods<S> {
    /// An object of this class. Dropping its last handle drops the state.
    #[must_use]
    pub fn object(self: &Arc<Self>, state: S) -> Object {
        self.bind(Arc::new(state))
    }

    /// An object of this class over a state that is shared.
    #[must_use]
    pub fn bind(self: &Arc<Self>, state: Arc<S>) -> Object {
        Object::new(Instance { table: self.clone(), state })
    }
}

impl<S> fmt::Debug for Methods<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").field("methods", &self.names()).finish_non_exhaustive()
    }
}

/// A function as an object: something a handler returns for the client to call.
pub fn function<M>(handler: impl Placed<M, ()>) -> Object {
    Arc::new(Methods::new().method("", handler)).object(())
}

struct Instance<S> {
    table: Arc<Methods<S>>,
    state: Arc<S>,
}

impl<S> Instance<S> {
    fn run(&self, route: &Route<S>, call: Call<'_>) -> Outcome {
        let mut parts = CallParts::new(&self.state, call);
        for guard in &self.table.guards {
            if let Err(error) = guard(&mut parts) {
                return Outcome::Ready(Err(error));
            }
        }
        let outcome = route.run(&mut parts);
        #[cfg(feature = "tokio")]
        if let Some(runtime) = &self.table.runtime {
            return super::runtime::moved(outcome, runtime);
        }
        outcome
    }
}

impl<S: Send + Sync + 'static> Target for Instance<S> {
    fn call(&self, member: &str, call: Call<'_>) -> Outcome {
        let known = call.known.or_else(|| self.table.known(member));
        match known.and_then(|known| self.table.routes.get(known as usize)) {
            Some(route) => self.run(route, call),
            None => Outcome::Missing,
        }
    }

    fn get(&self, member: &str, call: Call<'_>) -> Outcome {
        if self.table.hidden.iter().any(|hidden| &**hidden == member) {
            return Outcome::Ready(Err(hidden(member)));
        }
        if let Some(getter) = self.table.getters.get(member) {
            return self.run(getter, call);
        }
        if !self.table.methods.contains_key(member) {
            return Outcome::Missing;
        }
        let (table, state) = (self.table.clone(), self.state.clone());
        let bound = Bound { instance: Self { table, state }, member: member.into() };
        Outcome::Ready(Ok(Payload::Rich(Value::Object(Object::new(bound)))))
    }

    fn placement(&self, member: &str) -> Placement {
        let Some(known) = self.table.known(member) else { return Placement::default() };
        let placement = self.table.routes.get(known as usize).map(Route::placement);
        Placement { known: Some(known), ..placement.unwrap_or_default() }
    }
}

/// A method taken as a function.
struct Bound<S> {
    instance: Instance<S>,
    member: Box<str>,
}

impl<S: Send + Sync + 'static> Target for Bound<S> {
    fn call(&self, member: &str, call: Call<'_>) -> Outcome {
        if member.is_empty() { self.instance.call(&self.member, call) } else { Outcome::Missing }
    }

    fn placement(&self, member: &str) -> Placement {
        if member.is_empty() { self.instance.placement(&self.member) } else { Placement::default() }
    }
}

fn hidden(member: &str) -> CallError {
    CallError::type_error(format!(
        "Attempted to access property '{member}', which is an instance property of the RpcTarget. \
         To avoid leaking private internals, instance properties cannot be accessed over RPC. If \
         you want to make this property available over RPC, define it as a method or getter on \
         the class, instead of an instance property."
    ))
}
