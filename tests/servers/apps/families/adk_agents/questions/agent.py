from tests.servers.apps.families.adk import asking_agent

root_agent = asking_agent("questions")
