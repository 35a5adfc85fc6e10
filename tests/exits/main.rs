//! What leads out of VPCs, from the model to the tables.

mod effective;
mod isolation;
mod load_balancers;
mod seats;
mod transit;
mod update;
mod view;
mod world;
