//! The program, as a process, against a real server.
