//! sql_api
