from google.adk.apps import App, ResumabilityConfig

from tests.servers.apps.families.adk import asking_branches

root_agent = asking_branches("branches")
app = App(name="branches", root_agent=root_agent, resumability_config=ResumabilityConfig(is_resumable=True))
