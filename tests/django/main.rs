//! A Django application that uses m3-mutex as it is, beside programs that use this library.
