from tests.servers.apps.families.adk import asking_workflow

root_agent = asking_workflow("workflow")
