from google.adk.apps import App, ResumabilityConfig

from tests.servers.apps.families.adk import asking_agent

root_agent = asking_agent("resumable")
app = App(name="resumable", root_agent=root_agent, resumability_config=ResumabilityConfig(is_resumable=True))
