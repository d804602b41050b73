"""What an operator needs: logs, metrics, health, and the doctor behind `check`."""
