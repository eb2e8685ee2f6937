"""Agents that are commands: what a ``contract.yaml`` says of one, and the runner that carries it out in a sandbox."""

from benchhost.runner.agent.contract import AgentContract, read_contract
from benchhost.runner.agent.runner import AgentRunner, agent_runner

__all__ = ["AgentContract", "AgentRunner", "agent_runner", "read_contract"]
