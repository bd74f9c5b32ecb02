@control @infrastructure @ansible @gate
Feature: Control: a playbook whose inventory misses an instance

  The inventory was written when there were two instances. The playbook says that nothing has failed, and the third instance keeps
  the bad settings.

  Background:
    Given the service "bistro"
    And 40 journeys per second by 20 users

  Scenario: The third instance is not in the inventory
    When release "v2-loses-patience" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "inventory-of-last-year"
    Then the drill fails because "every instance serves the target release"
