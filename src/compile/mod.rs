//! Model → tables, incrementally: a change copies what it touches.
