@together @gate
Feature: Rolling back what was deployed together

  v2-tables is three things: diner's code, diner's schema, and a flag of cafe's. Diner of before cannot cope with the prices
  that the flag brings, and diner of the release not with the schema of before. So the order is given, and the plan knows what may
  run side by side.

  Background:
    Given the service "diner"
    And 40 journeys per second by 20 users

  Scenario: The flag, then the code, then the schema
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 2 minutes
    And every service serves its target release
    And no forbidden mix of releases serves
    And every acknowledged order exists exactly once
    And every node has the schema of before

  Scenario: A plan that cannot be finished takes back what it did
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "gives-up"
    Then the plan gives up and takes back what it did
