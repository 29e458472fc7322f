//! FLOOR 4: the window. Paints a [`View`](crate::call::View), sends
//! [`Command`](crate::call::Command)s, nothing else.
