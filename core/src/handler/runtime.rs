//! Handlers on the embedder's own tokio runtime.
use std::{
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    task::{Context, Poll},
};

use fulmar_dialect::{CallError, Form, Outcome, Payload, Source};
use tokio::{runtime::Handle, task::JoinHandle};

/// What is not settled yet, on this runtime from here on: futures as its tasks, streams within its
/// context.
pub(super) fn moved(outcome: Outcome, runtime: &Handle) -> Outcome {
    match outcome {
        Outcome::Later(future) => {
            let nested = runtime.clone();
            let task = Task(runtime.spawn(future));
            Outcome::Later(Box::pin(async move { moved(task.await, &nested) }))
        }
        Outcome::Stream(source) => {
            Outcome::Stream(Box::new(Entered { source, runtime: runtime.clone() }))
        }
        settled => settled,
    }
}

/// A task that ends when nobody waits for it any more.
struct Task(JoinHandle<Outcome>);

impl Future for Task {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(context).map(|joined| match joined {
            Ok(outcome) => outcome,
            // As if it had happened here: the call is answered, and the panic counted.
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Outcome::Ready(Err(CallError::with_code(503, "The runtime has ended."))),
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream that is polled by our workers, with the runtime's timers and sockets at hand.
struct Entered {
    source: Box<dyn Source>,
    runtime: Handle,
}

impl Source for Entered {
    fn poll_next(
        &mut self,
        form: Form,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Payload<'static>, CallError>>> {
        let _context = self.runtime.enter();
        self.source.poll_next(form, context)
    }
}
