@infrastructure @ansible @gate
Feature: Rolling back settings by an Ansible playbook

  v2-loses-patience is a file of settings on each instance, which a playbook put there. The rollback is the same playbook with the
  settings of before. An instance reads them when it starts, so the playbook restarts it.

  Background:
    Given the service "bistro"
    And 40 journeys per second by 20 users

  Scenario: The playbook brings the settings of before to every instance
    When release "v2-loses-patience" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes

  Scenario: The machine that runs the playbook dies before an instance is restarted
    When release "v2-loses-patience" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the machine that runs it dies when step 1 says "changed: [bistro-2]"
    Then service is restored within 5 minutes
    And every instance serves the target release
