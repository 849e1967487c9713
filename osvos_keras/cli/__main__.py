"""`python -m osvos_keras.cli` is `osvos`."""

from osvos_keras.cli import main

main()
