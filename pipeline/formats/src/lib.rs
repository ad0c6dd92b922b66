//! What a mixture is exported as, for trainers that know nothing of this program: Megatron-LM's
//! indexed dataset, JSON lines, blend files and a dataset card. Each module is bytes in a published
//! format and nothing else: where they lie and when they get their names is the caller's.

pub mod blend;
pub mod card;
mod escape;
pub mod jsonl;
mod licenses;
pub mod megatron;
pub mod numbers;
