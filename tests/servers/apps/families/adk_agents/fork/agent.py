from tests.servers.apps.families.adk import asking_fork

root_agent = asking_fork("fork")
