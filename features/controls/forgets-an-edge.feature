@control @infrastructure @gate
Feature: Control: a purge that forgets an edge

  The plan was written when there was one edge. Its commands succeed, and users of the other one still get the page that does not
  load.

  Background:
    Given the service "vitrine"
    And 40 journeys per second by 20 users

  Scenario: The second edge keeps the bad page
    When release "v2-forgets-its-script" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-an-edge"
    Then the drill fails because "every instance serves the target release"
