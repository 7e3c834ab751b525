"""The least that a Django application with m3-mutex needs. Where the database is comes from the environment."""

import os

SECRET_KEY = "for tests"
INSTALLED_APPS = ["m3_mutex"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = os.environ["APPLICATION_USE_TZ"] == "yes"
TIME_ZONE = os.environ["APPLICATION_TIME_ZONE"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["APPLICATION_DATABASE_HOST"],
        "PORT": os.environ["APPLICATION_DATABASE_PORT"],
        "NAME": os.environ["APPLICATION_DATABASE_NAME"],
        "USER": "postgres",
    }
}
